"""The best value so far as letters: a line of bars, or a chart of several lines.

It owns how a course of values becomes bars. It knows no experiment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.protocol.trials import ImprovementView

_BARS = "▁▂▃▄▅▆▇█"

_ASCII_BARS = "_.-:=+*#"

_FULL, _ASCII_FULL = "█", "#"


def sparkline(course: Sequence[ImprovementView], last: int, width: int, *, is_ascii: bool) -> str:
    """One line of bars, as wide, over the trials from 0 to the last number; empty without a value."""
    if not course:
        return ""
    bars = _ASCII_BARS if is_ascii else _BARS
    return "".join(
        " " if share is None else bars[round(share * (len(bars) - 1))]
        for share in _shares(course, last, width)
    )


def chart(
    course: Sequence[ImprovementView], last: int, width: int, height: int, *, is_ascii: bool
) -> list[str]:
    """So many lines of bars, the highest first; none without a value."""
    if not course:
        return []
    # ASCII has no letter for a part of one.
    steps = 1 if is_ascii else len(_BARS)
    levels = [
        None if share is None else 1 + round(share * (height * steps - 1))
        for share in _shares(course, last, width)
    ]
    return [
        "".join(_part(level, line * steps, is_ascii=is_ascii) for level in levels).rstrip()
        for line in reversed(range(height))
    ]


def _part(level: int | None, below: int, *, is_ascii: bool) -> str:
    """The letter of a bar in a line that has so many levels below it."""
    if level is None or level <= below:
        return " "
    if is_ascii:
        return _ASCII_FULL
    return _BARS[min(level - below, len(_BARS)) - 1]


def _shares(course: Sequence[ImprovementView], last: int, width: int) -> list[float | None]:
    """For each column the best so far, from 0 for the lowest to 1 for the highest; None before a value."""
    found: list[float | None] = []
    values = [each["value"] for each in course]
    low, high = min(values), max(values)
    current: float | None = None
    rest = list(reversed(course))
    for column in range(width):
        # The last column is the present.
        number = last if width == 1 else last * column / (width - 1)
        while rest and (rest[-1]["number"] <= number or column == width - 1):
            current = rest.pop()["value"]
        found.append(None if current is None else _share(current, low, high))
    return found


def _share(value: float, low: float, high: float) -> float:
    # Halves, because the difference of two finite numbers may be infinite.
    return 0.0 if low == high else (value / 2 - low / 2) / (high / 2 - low / 2)
