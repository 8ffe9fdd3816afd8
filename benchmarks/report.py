"""Measurements: tables for people, JSON for programs, and the figures that were expected.

A figure that was not reached is shown. Only a count that is over its bound makes the run fail: counts are the
same on every machine, times are not.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

import tuned


@dataclass(frozen=True, slots=True)
class Spread:
    """The same thing measured in several rounds."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def __str__(self) -> str:
        return f"{short(self.median)} ({short(min(self.samples))} to {short(max(self.samples))})"


Cell = str | int | float | Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A figure and its bound."""

    what: str
    found: float
    limit: float
    is_upper: bool
    is_count: bool

    @property
    def is_met(self) -> bool:
        return self.found <= self.limit if self.is_upper else self.found >= self.limit

    def __str__(self) -> str:
        sense = "at most" if self.is_upper else "at least"
        verdict = "reached" if self.is_met else "MISSED"
        return f"{verdict}: {self.what}: {short(self.found)}, expected {sense} {short(self.limit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    title: str
    rows: tuple[Mapping[str, Cell], ...]

    def __str__(self) -> str:
        columns = list(self.rows[0])
        texts = [columns, *([_text(row[column]) for column in columns] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in texts
        ]
        return "\n".join([f"\n{self.title}", *(f"  {line.rstrip()}" for line in lines)])


@dataclass(slots=True)
class Report:
    """Shows each table and figure as it comes, and keeps it."""

    show: Callable[[str], object]
    tables: list[Table] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def table(self, title: str, rows: Sequence[Mapping[str, Cell]]) -> None:
        table = Table(title=title, rows=tuple(rows))
        self.tables.append(table)
        self.show(str(table))

    def figure(self, what: str, found: float, *, at_least: float | None = None, at_most: float = 0.0) -> None:
        """A ratio or a time: missing it is shown, and no more."""
        self._check(what, found, at_least, at_most, is_count=False)

    def count(self, what: str, found: float, *, at_least: float | None = None, at_most: float = 0.0) -> None:
        """A count: missing it makes the run fail."""
        self._check(what, found, at_least, at_most, is_count=True)

    @property
    def has_failed(self) -> bool:
        return any(check.is_count and not check.is_met for check in self.checks)

    def write(self, file: Path) -> None:
        machine = {
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "optuna": optuna.__version__,
            "tuned": tuned.__version__,
        }
        document = {
            "machine": machine,
            "tables": [
                {
                    "title": table.title,
                    "rows": [{name: _json(cell) for name, cell in row.items()} for row in table.rows],
                }
                for table in self.tables
            ],
            "checks": [
                {
                    "what": check.what,
                    "found": check.found,
                    "limit": check.limit,
                    "is_upper": check.is_upper,
                    "is_met": check.is_met,
                }
                for check in self.checks
            ],
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=2) + "\n")

    def _check(
        self, what: str, found: float, at_least: float | None, at_most: float, *, is_count: bool
    ) -> None:
        is_upper = at_least is None
        limit = at_most if at_least is None else at_least
        check = Check(what=what, found=found, limit=limit, is_upper=is_upper, is_count=is_count)
        self.checks.append(check)
        self.show(f"  {check}")


def short(number: float) -> str:
    """Three digits that count."""
    if isinstance(number, int) or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def _text(cell: Cell) -> str:
    return short(cell) if isinstance(cell, int | float) else str(cell)


def _json(cell: Cell) -> Any:
    return {"median": cell.median, "samples": list(cell.samples)} if isinstance(cell, Spread) else cell
