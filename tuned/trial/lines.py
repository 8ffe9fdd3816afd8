"""Output as lines, as a terminal shows them: a carriage return begins a line anew.

A line that is redrawn, such as a progress bar, has one state after the other. It must never keep more than
``LINE_BYTES`` of a state, however long a state is and however often the line is redrawn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tuned.domain.attributes import LINE_BYTES

#: Sequences that a terminal obeys and does not show: ECMA-48's CSI, OSC and the short ones.
_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")

#: They move the cursor to the first column, as a carriage return does.
_TO_FIRST_COLUMN = re.compile(rb"\x1b\[[01]?G")

_ERASE_WHOLE = b"\x1b[2K"

#: Erases all behind the cursor.
_ERASE = re.compile(rb"\x1b\[0?K")

_BACKSPACES = re.compile("(\b+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A piece of output, as a terminal shows it."""

    #: All that was shown, one after the other, also if it was redrawn later.
    states: Sequence[bytes]
    #: The lines that ended, each as it was then.
    lines: Sequence[bytes]


class Lines:
    """Cuts a stream into lines without their ends; of a state longer than ``LINE_BYTES`` the rest is lost."""

    def __init__(self) -> None:
        #: The state that has not ended.
        self._partial = b""
        #: The state of the line before its last return.
        self._drawn = b""

    def feed(self, chunk: bytes) -> Shown:
        output = self._partial + chunk
        if self._drawn or b"\r" in output or b"\x1b" in output or b"\b" in output:
            return self._feed_drawn(output)
        # Most output is plain: a flood of it costs little more than the split.
        *lines, rest = output.split(b"\n")
        self._partial = rest[:LINE_BYTES]
        plain = [line[:LINE_BYTES] for line in lines]
        return Shown(states=plain, lines=plain)

    def rest(self) -> Shown:
        """The last line, if nothing ended it."""
        states: list[bytes] = []
        if self._partial:
            self._draw(self._partial, states)
        lines = [self._drawn] if self._drawn else []
        self._partial = self._drawn = b""
        return Shown(states=states, lines=lines)

    def _feed_drawn(self, output: bytes) -> Shown:
        if b"\x1b" in output:
            output = _TO_FIRST_COLUMN.sub(b"\r", output).replace(_ERASE_WHOLE, b"\r\x1b[K")
        *ended, rest = output.split(b"\n")
        states: list[bytes] = []
        lines = []
        for line in ended:
            *earlier, last = line.split(b"\r")
            for state in filter(None, earlier):
                self._draw(state, states)
            # Nothing stands between the return and the end of a line that ends with both.
            if last or not self._drawn:
                self._draw(last, states)
            lines.append(self._drawn)
            self._drawn = b""
        *earlier, self._partial = rest.split(b"\r")
        for state in filter(None, earlier):
            self._draw(state, states)
        if len(self._partial) > LINE_BYTES:
            self._partial = _shortened(self._partial)
        return Shown(states=states, lines=lines)

    def _draw(self, raw: bytes, states: list[bytes]) -> None:
        state = _shown(raw)[:LINE_BYTES]
        if state or not raw:
            states.append(state)
        # Blanks wipe what they cover; a bar that is gone is not what the line shows in the end.
        if state.strip() or len(state) >= len(self._drawn) or _ERASE.search(raw):
            self._drawn = state


def _shown(raw: bytes) -> bytes:
    if b"\x1b" in raw:
        raw = _ESCAPE.sub(b"", raw)
    return _overtyped(raw) if b"\b" in raw else raw


def _overtyped(raw: bytes) -> bytes:
    """As with a return: what is typed after backspaces replaces what stood there, and all behind it."""
    shown: list[str] = []
    cursor = 0
    for part in _BACKSPACES.split(raw.decode("utf-8", "surrogateescape")):
        if part.startswith("\b"):
            cursor = max(0, cursor - len(part))
        elif part:
            shown[cursor:] = part
            cursor = len(shown)
    return "".join(shown).encode("utf-8", "surrogateescape")


def _shortened(partial: bytes) -> bytes:
    # The backspaces at its end are for what comes next.
    typed = partial.rstrip(b"\b")
    return _shown(typed)[:LINE_BYTES] + partial[len(typed) :][:LINE_BYTES]
