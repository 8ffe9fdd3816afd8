"""The streams of this process: all that tunectl prints goes through them, and only printable text passes.

It owns what may reach a terminal: letters of the terminal's encoding, ends of lines, and the colours that
tunectl itself uses. It knows nothing of tuned.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
from typing import TYPE_CHECKING, TextIO

import click

from tuned.errors import InvalidInput
from tuned.tunectl.text import UNBOUNDED, Canvas, Colour, printable_but

if TYPE_CHECKING:
    from collections.abc import Iterator


_LINE_END = re.compile(r"\n")


_OUR_COLOUR = re.compile(rf"\x1b\[(?:0|{'|'.join(each.value for each in Colour if each.value)})m")


_LINE_END_OR_COLOUR = re.compile(f"{_LINE_END.pattern}|{_OUR_COLOUR.pattern}")


#: Colours of any kind, and the carriage return that redraws a progress bar.
_OF_LOGS = re.compile(r"[\n\r\t]|\x1b\[[0-9;:]*m")


#: The beginning of a colour whose rest may come with the next piece.
_BEGUN_COLOUR = re.compile(r"\x1b(?:\[[0-9;:]{0,40})?\Z")


_NO_COLOUR = "\x1b[0m"


#: For terminals whose encoding has not the letters of our own pages.
_PLAIN_LETTERS = {"●": "*", "█": "#", "░": ".", "–": "-", "…": "~", "✗": "x"}


_TO_PLAIN_LETTERS = "tunectl-plain-letters"


class _Stream(io.TextIOWrapper):
    """Standard output or standard error."""

    def __init__(self, stream: TextIO) -> None:
        codec = codecs.lookup(stream.encoding or "ascii")
        # click would pass by a stream that says that it is ASCII, and write UTF-8 to its buffer.
        encoding = "utf-8" if codec.name == "ascii" else codec.name
        super().__init__(stream.buffer, encoding=encoding, errors=_TO_PLAIN_LETTERS, line_buffering=True)
        self._codec = codec
        self.has_colours = _has_colours(stream)

    def write(self, text: str) -> int:
        if self.has_colours:
            return self._write(printable_but(_LINE_END_OR_COLOUR, text))
        return self._write(printable_but(_LINE_END, _OUR_COLOUR.sub("", text)))

    def write_of_logs(self, text: str) -> None:
        self._write(printable_but(_OF_LOGS, text))

    def _write(self, text: str) -> int:
        encoded, _ = self._codec.encode(text, _TO_PLAIN_LETTERS)
        return super().write(self._codec.decode(encoded)[0])


def _has_colours(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _plain_letters(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    unknown = error.object[error.start : error.end]
    known = (_PLAIN_LETTERS.get(each) or each.encode("unicode_escape").decode() for each in unknown)
    return "".join(known), error.end


def install() -> None:
    """Puts the streams in the place of Python's own."""
    codecs.register_error(_TO_PLAIN_LETTERS, _plain_letters)
    # None: the process was started with a closed descriptor.
    if sys.stdout is not None:
        sys.stdout = _Stream(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = _Stream(sys.stderr)


def canvas() -> Canvas:
    """That of standard output. A file or a pipe has room for everything."""
    if sys.stdout is None or not sys.stdout.isatty():
        return Canvas(width=UNBOUNDED)
    # A terminal that does not know its width says 0.
    width = os.get_terminal_size(sys.stdout.fileno()).columns or 80
    return Canvas(width=width, has_colours=_has_colours(sys.stdout))


def json_text(view: object, *, indent: int | None = None) -> str:
    """JSON that says the same, with letters that are not printable in JSON's own escapes."""
    text = json.dumps(view, indent=indent, ensure_ascii=False)
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)


def complain(error: Exception) -> None:
    """An error in its one form: a line that begins with the command's name, indented ones with the rest."""
    for message in map(str, error.problems) if isinstance(error, InvalidInput) else [str(error)]:
        first, *more = message.splitlines() or [type(error).__name__]
        click.echo("\n".join([f"tunectl: {first}", *(f"  {line.strip()}" for line in more)]), err=True)


class TrialOutput:
    """Bytes that a trial printed, on their way to standard output: as they are, unless that is a terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stdout if isinstance(sys.stdout, _Stream) and sys.stdout.isatty() else None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def write(self, piece: bytes) -> None:
        if self._terminal is None:
            click.echo(piece, nl=False)
            return
        text = self._held + self._decoder.decode(piece)
        begun = _BEGUN_COLOUR.search(text)
        self._held = begun[0] if begun else ""
        self._terminal.write_of_logs(text[: begun.start()] if begun else text)
        self._terminal.flush()

    def end(self) -> None:
        """Shows what was held back, and ends the trial's last colour."""
        if self._terminal is not None:
            self._terminal.write_of_logs(self._held + self._decoder.decode(b"", final=True))
            if self._terminal.has_colours:
                self._terminal.write(_NO_COLOUR)
            self._terminal.flush()


def texts(pieces: Iterator[bytes]) -> Iterator[str]:
    """The pieces as text; a letter whose bytes come in two pieces is one all the same."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        if text := decoder.decode(piece):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest
