"""The values of one parameter, grouped by the conditions that can tell them apart.

Its values have places in a row, so a group is a few spans of places, however many values it has. Nothing here
may know another parameter.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from tuned.domain.conditions import Allowed, Between, Value

if TYPE_CHECKING:
    import random

#: The first and the last place of some neighbouring values.
Span = tuple[float, float]

#: None: infinitely many, or more than anybody counts.
Count = int | None


class Axis(Protocol):
    """A parameter: its values have places in a row, 0 to size - 1 or, if it is continuous, the floats."""

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> bool: ...

    @property
    def size(self) -> Count: ...

    @property
    def whole(self) -> Span: ...

    def at(self, index: int) -> Value: ...

    def place(self, value: Value) -> float:
        """Raises ValueError if it is no value of the parameter."""

    def between(self, low: float | None, high: float | None) -> Span | None:
        """The places of a range; None if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Values of one parameter that no condition tells apart."""

    spans: tuple[Span, ...]
    #: The clauses that do not hold with these values.
    kills: int

    def size(self, axis: Axis) -> Count:
        return None if axis.size is None else sum(int(last - first) + 1 for first, last in self.spans)

    def place(self, number: int) -> int:
        """The place of one of its values, which are numbered from 0."""
        for first, last in self.spans:
            if number <= last - first:
                return int(first) + number
            number -= int(last - first) + 1
        raise IndexError(number)

    def number(self, place: float) -> int | None:
        """The number of the value with this place; None if it is in another branch."""
        before = 0
        for first, last in self.spans:
            if first <= place <= last:
                return before + int(place - first)
            before += int(last - first) + 1
        return None


def spans(axis: Axis, allowed: Allowed) -> tuple[Span, ...]:
    """The places of the values that are allowed, in order. Raises ValueError if one is no value."""
    if isinstance(allowed, Between):
        span = axis.between(allowed.low, allowed.high)
        return () if span is None else (span,)
    return tuple((place, place) for place in sorted({axis.place(value) for value in allowed.values}))


def holds(axis: Axis, allowed: Allowed, value: Value) -> bool:
    place = axis.place(value)
    return any(first <= place <= last for first, last in spans(axis, allowed))


def branches(axis: Axis, terms: Sequence[tuple[int, Sequence[Span]]]) -> list[Branch]:
    """The values of the parameter, grouped by the terms that hold for them; terms are bits."""
    first, last = axis.whole
    changes: dict[float, int] = {first: 0}
    for bit, places in terms:
        for begin, end in places:
            changes[begin] = changes.get(begin, 0) ^ bit
            changes[_after(end)] = changes.get(_after(end), 0) ^ bit
    touched, holding = sum(bit for bit, _ in terms), 0
    groups: dict[int, list[Span]] = defaultdict(list)
    begins = sorted(place for place in changes if place <= last)
    for begin, following in pairwise([*begins, _after(last)]):
        holding ^= changes[begin]
        groups[touched & ~holding].append((begin, _before(following)))
    return [Branch(spans=tuple(found), kills=kills) for kills, found in groups.items()]


def _after(place: float) -> float:
    return place + 1 if isinstance(place, int) else math.nextafter(place, math.inf)


def _before(place: float) -> float:
    return place - 1 if isinstance(place, int) else math.nextafter(place, -math.inf)


def weight(axis: Axis, span: Span) -> float:
    first, last = span
    if axis.size is not None:
        return last - first + 1
    return math.log(last) - math.log(first) if axis.log else last - first


def chosen(generator: random.Random, weights: Sequence[float]) -> int:
    if len(weights) == 1:
        return 0
    # Single floats have no width: they are drawn only if nothing else is left.
    return generator.choices(range(len(weights)), weights if any(weights) else None)[0]


def drawn(generator: random.Random, axis: Axis, span: Span) -> Value:
    first, last = span
    if axis.size is not None:
        return axis.at(int(first) + generator.randrange(int(last - first) + 1))
    if axis.log:
        value = math.exp(generator.uniform(math.log(first), math.log(last)))
    else:
        value = generator.uniform(first, last)
    return min(max(value, first), last)
