"""Text for a terminal: tables that fit a width, bars, spans of time, numbers. It knows nothing of tuned.

A width is in places on the terminal, as wcwidth measures it: a letter may take two, or none. A cell cannot
control the terminal: only this module writes escape sequences, for colours. Whether they and all other text
reach the terminal is decided in output.py.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import wcwidth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_GAP = "  "


_CUT = "…"


#: The width of a file or a pipe: whatever reads it has room.
UNBOUNDED = 2**31


class Colour(Enum):
    """How a cell looks on a terminal that shows colours."""

    NONE = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    colour: Colour = Colour.NONE


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    #: Numbers stand at the right.
    is_right: bool = False
    #: How narrow it may become when the table does not fit; None: it keeps its width.
    least: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """The terminal or file that is written to: its width, and whether it shows colours."""

    width: int = 80
    has_colours: bool = False

    def paint(self, text: str, colour: Colour) -> str:
        if not self.has_colours or colour is Colour.NONE:
            return text
        return f"\x1b[{colour.value}m{text}\x1b[0m"

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> list[str]:
        """The lines of a table, its titles first."""
        cells = [[_cell(each) for each in row] for row in rows]
        titles = [Cell(column.title, Colour.BOLD) for column in columns]
        widths = _widths(columns, [titles, *cells], self.width)
        return [self._row(columns, row, widths) for row in [titles, *cells]]

    def _row(self, columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int]) -> str:
        parts = []
        for column, cell, width in zip(columns, row, widths, strict=True):
            text = cut(cell.text, width)
            painted = self.paint(text, cell.colour)
            align = wcwidth.rjust if column.is_right else wcwidth.ljust
            parts.append(align(painted, width))
        return _GAP.join(parts).rstrip()

    def facts(self, pairs: Iterable[tuple[str, str | Cell]]) -> list[str]:
        """Labels with their values beside them, long values on several lines."""
        known = [(label, _cell(value)) for label, value in pairs]
        indent = 2 + max((wcwidth.width(label) for label, _ in known), default=0)
        lines = []
        for label, cell in known:
            first, *more = wrap(cell.text, max(20, self.width - indent)) or [""]
            lines.append(f"{wcwidth.ljust(label, indent)}{self.paint(first, cell.colour)}".rstrip())
            lines += [" " * indent + self.paint(line, cell.colour) for line in more]
        return lines


def _cell(value: str | Cell) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value)
    return Cell(printable(cell.text), cell.colour)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], most: int) -> list[int]:
    """As wide as the longest text; what is too much is taken from the widest columns that may shrink."""
    widths = [max(wcwidth.width(row[index].text) for row in rows) for index in range(len(columns))]
    excess = sum(widths) + len(_GAP) * (len(columns) - 1) - most
    while excess > 0:
        can = [i for i, column in enumerate(columns) if column.least is not None and widths[i] > column.least]
        if not can:
            break
        widths[max(can, key=widths.__getitem__)] -= 1
        excess -= 1
    return widths


def printable(text: str) -> str:
    r"""The text on one line, with nothing that a terminal would obey: an escape shows as ``\x1b``."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(letter: str) -> str:
    if letter.isprintable():
        return letter
    return " " if letter.isspace() else letter.encode("unicode_escape").decode()


def printable_but(kept: re.Pattern[str], text: str) -> str:
    """The text, printable but for the parts that the pattern matches."""
    parts, end = [], 0
    for match in kept.finditer(text):
        parts += [printable(text[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*parts, printable(text[end:])])


def cut(text: str, width: int) -> str:
    if wcwidth.width(text) <= width:
        return text
    return text[: _fitting(text, max(0, width - wcwidth.width(_CUT)))] + _CUT


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most this width, broken at spaces if there are any."""
    lines: list[str] = []
    while (fitting := _fitting(text, width)) < len(text):
        at = text.rfind(" ", 1, fitting + 1)
        at = max(1, fitting) if at < 0 else at
        lines.append(text[:at])
        text = text[at:].lstrip(" ")
    return [*lines, text] if text else lines


def _fitting(text: str, width: int) -> int:
    """How many of the text's first characters are at most so wide together."""
    # Without the bound, each line of a long text would measure all the rest of it.
    lengths = range(min(len(text), 8 * width) + 1)
    return bisect_right(lengths, width, key=lambda length: wcwidth.width(text[:length])) - 1


def bar(done: int, total: int, width: int) -> str:
    """Full only at the very end, empty only at the very beginning."""
    filled = min(width, width * done // max(total, 1))
    if done > 0 and filled == 0:
        filled = 1
    return "█" * filled + "░" * (width - filled)


def percent(done: int, total: int) -> str:
    """100% only at the very end."""
    return f"{min(100, 100 * done // max(total, 1))}%"


_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def span(seconds: float) -> str:
    """The two largest units: 3d 4h, 2h 5min, 1min 15s, 45s."""
    left = max(0, round(seconds))
    for index, (unit, size) in enumerate(_UNITS):
        if left >= size:
            text = f"{left // size}{unit}"
            if index + 1 < len(_UNITS):
                smaller, smaller_size = _UNITS[index + 1]
                rest = left % size // smaller_size
                return f"{text} {rest}{smaller}" if rest else text
            return text
    return "0s"


def number(value: float | str) -> str:
    """Six digits are enough for the eye; ``--json`` has them all. Infinity comes as a string."""
    return f"{float(value):.6g}"
