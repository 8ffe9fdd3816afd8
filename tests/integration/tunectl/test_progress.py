"""How far a long command is, on a real terminal and elsewhere."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

import pytest

from tests.waiting import until
from tuned.tunectl import progress
from tuned.tunectl.progress import Progress, waiting


class Terminal:
    """The terminal that standard error is, and all that came there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ours, theirs = os.openpty()
        os.set_blocking(self.ours, False)
        self._stream = os.fdopen(theirs, "w", encoding="utf-8")
        self._seen = b""
        monkeypatch.setattr(sys, "stderr", self._stream)
        monkeypatch.setattr(progress, "TELL_SECONDS", 0.001)

    def seen(self) -> str:
        with contextlib.suppress(BlockingIOError):
            self._seen += os.read(self.ours, 65536)
        return self._seen.decode()

    @property
    def line(self) -> str:
        """The one that is left of all that were drawn over each other."""
        return self.seen().rstrip("\r").rpartition("\r")[2].rstrip(" ")

    def close(self) -> None:
        self._stream.close()
        os.close(self.ours)


@contextlib.contextmanager
def a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Not as a fixture: pytest has other streams in a test than in its fixtures."""
    terminal = Terminal(monkeypatch)
    yield terminal
    terminal.close()


def tell(line: Progress, text: str, terminal: Terminal) -> None:
    """Says it until it is on the terminal."""

    def is_seen() -> bool:
        line.tell(text)
        return terminal.line.endswith(f": {text}")

    until(is_seen, what=f"the line {text}")


def test_the_line_is_drawn_again_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_terminal(monkeypatch) as terminal:
        with Progress("minima") as line:
            tell(line, "1000 trials read", terminal)
            tell(line, "9", terminal)
            assert terminal.line == "minima: 9"
        assert terminal.line == ""


def test_what_waits_says_for_what_and_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_terminal(monkeypatch) as terminal:
        with waiting("minima", "its plots are drawn"):
            until(lambda: "so far" in terminal.seen(), what="the line")
            assert "minima: its plots are drawn, 0s so far" in terminal.seen()
        assert terminal.line == ""


def test_a_hostile_name_is_shown_and_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_terminal(monkeypatch) as terminal:
        with Progress("\x1b[31m") as line:
            tell(line, "1 trial read", terminal)
        assert "\x1b" not in terminal.seen()


def test_nothing_is_written_for_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", piped := io.StringIO())
    monkeypatch.setattr(progress, "TELL_SECONDS", 0.0)
    with Progress("minima") as line, waiting("minima", "its plots are drawn"):
        line.tell("1 trial read")
    assert piped.getvalue() == ""
