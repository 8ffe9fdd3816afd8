"""How far a long command is: one line on a terminal, drawn again and again, and gone at its end.

It writes to standard error, and never to anything but a terminal. It must never know what the command does.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import click
import wcwidth

from tuned.tunectl.text import cut, printable, span

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A command that takes longer says how far it is, at most so often.
TELL_SECONDS = 0.5

_USUAL_COLUMNS = 80


class Progress:
    """The line of one command about one thing, while it is entered."""

    def __init__(self, name: str) -> None:
        self._name = printable(name)
        self._began = self._told = time.monotonic()
        #: How wide the line is that is seen.
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            self._draw("")
            click.echo("\r", err=True, nl=False)

    @property
    def seconds(self) -> float:
        """Since the command began."""
        return time.monotonic() - self._began

    def tell(self, text: str) -> None:
        """How far it is now; most of it is not shown."""
        if time.monotonic() - self._told >= TELL_SECONDS and sys.stderr.isatty():
            self._told = time.monotonic()
            self._draw(cut(f"{self._name}: {text}", _columns() - 1))

    def _draw(self, line: str) -> None:
        width = wcwidth.width(line)
        click.echo(f"\r{line}{' ' * (self._width - width)}", err=True, nl=False)
        self._width = width


def _columns() -> int:
    # One that does not know how wide it is says 0.
    return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_COLUMNS


@contextlib.contextmanager
def waiting(name: str, text: str) -> Iterator[None]:
    """Says for what the block waits, and how long it has."""
    is_over = threading.Event()

    def tell() -> None:
        with Progress(name) as progress:
            while not is_over.wait(TELL_SECONDS):
                progress.tell(f"{text}, {span(progress.seconds)} so far")

    if not sys.stderr.isatty():
        yield
        return
    teller = threading.Thread(target=tell)
    teller.start()
    try:
        yield
    finally:
        is_over.set()
        teller.join()
