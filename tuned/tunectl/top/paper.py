"""A screen before it is painted: sections of rows, and the paper that they are written for.

A line is text in which only our own colours are escape sequences, as text.Canvas makes it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from tuned.tunectl.text import Canvas

if TYPE_CHECKING:
    from tuned.tunectl.client import Client


@dataclass(frozen=True, slots=True)
class Target:
    """An experiment or one of its trials, which a row opens."""

    experiment: str
    trial: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    canvas: Canvas
    height: int
    is_ascii: bool
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    lines: tuple[str, ...]
    #: The row is found again by it when the screen is drawn anew; None in a text.
    key: Hashable = None
    opens: Target | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A list of rows to choose from; or a text, whose rows are lines that are only read."""

    #: Stands above the rows; empty for none.
    head: str
    rows: Sequence[Row]
    is_text: bool = False
    #: A text that grows: its end is in sight until a person goes up.
    follows: bool = False
    #: How many lines it has at least before the sections behind it get more than theirs.
    least: int = 4


class Picture(Protocol):
    """Answers of the daemon, which can be written on any paper."""

    def headline(self, paper: Paper) -> str: ...

    def troubles(self) -> list[str]:
        """Things that a person should look at, which belong to no row."""

    def sections(self, paper: Paper) -> list[Section]: ...


class Page(Protocol):
    """One screen: asks the daemon for its picture."""

    @property
    def target(self) -> Target | None:
        """The experiment or trial that it is of; None for the overview."""

    def pictures(self, client: Client) -> Iterator[Picture]:
        """One picture after the other, each fuller than the one before. Raises TunedError."""


def table(lines: Sequence[str], targets: Sequence[Target | None], keys: Sequence[Hashable]) -> Section:
    """A section of a table's lines, whose first is the head."""
    head, *rows = lines
    return Section(
        head=head,
        rows=[
            Row(lines=(line,), key=key, opens=target)
            for line, target, key in zip(rows, targets, keys, strict=True)
        ],
    )


def text_section(head: str, lines: Sequence[str], *, follows: bool = False, least: int = 4) -> Section:
    rows = [Row(lines=(line,)) for line in lines]
    return Section(head=head, rows=rows, is_text=True, follows=follows, least=least)
