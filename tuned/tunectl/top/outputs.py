"""The end of a trial's output as lines for a screen: without colours and what a progress bar drew over.

Control characters that are left are made harmless by everybody who writes text on a canvas.
"""

from __future__ import annotations

import re

from tuned.tunectl.text import printable, wrap

#: So much of the end of an output is shown.
TAIL_BYTES = 32 * 1024

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")

#: A word that is wider than the screen would make many lines of one.
_MOST_LETTERS = 2000


def uncoloured(text: str) -> str:
    return _COLOURS.sub("", text)


def output_lines(tail: bytes, width: int) -> list[str]:
    """The lines, none wider; the first one is left out if its beginning is not there."""
    text = tail.decode("utf-8", "replace")
    if not text.strip():
        return []
    if len(tail) >= TAIL_BYTES:
        text = text.partition("\n")[2]
    return [line for raw in text.rstrip("\n").split("\n") for line in _wrapped(_drawn_last(raw), width)]


def _drawn_last(line: str) -> str:
    return uncoloured(line).rstrip("\r").rpartition("\r")[2].expandtabs()


def _wrapped(line: str, width: int) -> list[str]:
    return wrap(printable(line[:_MOST_LETTERS]), max(1, width)) or [""]
