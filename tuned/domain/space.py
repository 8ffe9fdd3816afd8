"""The search space: parameters, points and their canonical keys, and the indexes of a finite space's points.

A parameter exists in a point if its condition holds there. Forbidden combinations are no points.

A point's key is the same on every host, and the same for a point that plain Optuna drew: a
categorical value counts by its index, an int by its value, a stepped float by the index of its step
(so that 0.6 and 0.6000000000000001 are one point), any other float by its exact bits.
Nothing here may know Optuna or the database.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuned.domain import conditions as words
from tuned.domain.branches import Span, holds, spans
from tuned.domain.forest import Forest

if TYPE_CHECKING:
    import random

    from tuned.domain.conditions import Condition

Value = words.Value

#: A stepped float counts as its step if it lies at most so many steps away, because floats are rounded.
STEP_TOLERANCE = 1e-6

#: A space with more points is treated like a continuous one, because nobody will walk it to its end.
MOST_POINTS = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class IntParameter:
    """An integer from ``low`` to ``high``, both included if a step reaches them."""

    name: str
    low: int
    high: int
    step: int = 1
    log: bool = False

    @property
    def size(self) -> int:
        return (self.high - self.low) // self.step + 1

    def at(self, index: int) -> int:
        return self.low + index * self.step

    def token(self, value: Value) -> int:
        """The value's part of the key. Raises ValueError if it is not in the range."""
        number = int(value)
        if number != value or not 0 <= number - self.low <= self.high - self.low:
            raise ValueError(f"{value!r} is not an integer from {self.low} to {self.high}")
        if (number - self.low) % self.step:
            raise ValueError(f"{value!r} is not {self.low} plus a multiple of {self.step}")
        return number

    def canonical(self, value: Value) -> int:
        return self.token(value)

    @property
    def whole(self) -> Span:
        return 0, self.size - 1

    def place(self, value: Value) -> int:
        return (self.token(value) - self.low) // self.step

    def between(self, low: float | None, high: float | None) -> Span | None:
        first = 0 if low is None else max(0, -((self.low - math.ceil(low)) // self.step))
        last = self.size - 1
        if high is not None:
            last = min(last, (math.floor(high) - self.low) // self.step)
        return (first, last) if first <= last else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatParameter:
    """A float from ``low`` to ``high``: ``low + i * step`` in decimal, or continuous without step."""

    name: str
    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def size(self) -> int | None:
        """The number of values; None if they cannot be enumerated."""
        if self.step is None:
            return 1 if self.low == self.high else None
        low, high, step = (Decimal(repr(x)) for x in (self.low, self.high, self.step))
        return int((high - low) // step) + 1

    def at(self, index: int) -> float:
        if self.step is None:
            return self.low
        return float(Decimal(repr(self.low)) + index * Decimal(repr(self.step)))

    def token(self, value: Value) -> int | str:
        """The value's part of the key. Raises ValueError if it is not in the range."""
        number = float(value)
        if self.step is None:
            if not self.low <= number <= self.high:
                raise ValueError(f"{value!r} is not a number from {self.low} to {self.high}")
            # 0.0 and -0.0 are one value.
            return (number + 0.0).hex()
        steps = (number - self.low) / self.step if math.isfinite(number) else math.nan
        index = round(steps) if math.isfinite(steps) else -1
        size = self.size
        assert size is not None
        if not 0 <= index < size or abs(steps - index) > STEP_TOLERANCE:
            raise ValueError(f"{value!r} is not {self.low} plus a multiple of {self.step} up to {self.high}")
        return index

    def canonical(self, value: Value) -> float:
        token = self.token(value)
        return self.at(token) if isinstance(token, int) else float(value) + 0.0

    @property
    def whole(self) -> Span:
        return (self.low, self.high) if (size := self.size) is None else (0, size - 1)

    def place(self, value: Value) -> float:
        token = self.token(value)
        if isinstance(token, int):
            return token
        return float(value) + 0.0 if self.size is None else 0

    def between(self, low: float | None, high: float | None) -> Span | None:
        least, most = self.low if low is None else low, self.high if high is None else high
        if self.step is None:
            first, last = max(least, self.low) + 0.0, min(most, self.high) + 0.0
            if self.size is not None and first <= last:
                return 0, 0
        else:
            begin, step = Decimal(repr(self.low)), Decimal(repr(self.step))
            first = max(0, math.ceil((Decimal(repr(least)) - begin) / step))
            last = min(int(self.whole[1]), math.floor((Decimal(repr(most)) - begin) / step))
        return (first, last) if first <= last else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoricalParameter:
    """One of ``choices``."""

    name: str
    choices: tuple[Value, ...]

    @property
    def size(self) -> int:
        return len(self.choices)

    def at(self, index: int) -> Value:
        return self.choices[index]

    def token(self, value: Value) -> int:
        """The index of the choice. Raises ValueError if the value is no choice."""
        for index, choice in enumerate(self.choices):
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return index
        raise ValueError(f"{value!r} is none of {list(self.choices)}")

    def canonical(self, value: Value) -> Value:
        return self.choices[self.token(value)]

    @property
    def log(self) -> bool:
        return False

    @property
    def whole(self) -> Span:
        return 0, self.size - 1

    def place(self, value: Value) -> int:
        return self.token(value)

    def between(self, low: float | None, high: float | None) -> Span | None:
        """Choices have no order, so no range has one."""
        return None


Parameter = IntParameter | FloatParameter | CategoricalParameter


def document(parameter: Parameter) -> dict[str, Any]:
    """The parameter's table as a file has it; a step that is not set is left out."""
    if isinstance(parameter, CategoricalParameter):
        return {"type": "categorical", "choices": list(parameter.choices)}
    kind = "int" if isinstance(parameter, IntParameter) else "float"
    step = {} if parameter.step is None else {"step": parameter.step}
    return {"type": kind, "low": parameter.low, "high": parameter.high, **step, "log": parameter.log}


class Forbidden(ValueError):
    """The values are a combination that the experiment file forbids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One parameter set: canonical values by parameter name, and the key that identifies it."""

    values: Mapping[str, Value]
    #: 32 hexadecimal digits, safe as a file name and short enough for an index.
    key: str


@dataclass(frozen=True)
class Space:
    """The parameters of a study, in the order of the experiment file."""

    parameters: tuple[Parameter, ...]
    #: By the name of the parameter that exists only if its condition holds.
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    #: Combinations that no point has.
    forbidden: tuple[Condition, ...] = ()

    @cached_property
    def size(self) -> int | None:
        """The number of points; None if there are infinitely many or over ``MOST_POINTS``.

        Raises TooIntricate.
        """
        size = self.forest.size
        return size if size is not None and size <= MOST_POINTS else None

    @cached_property
    def forest(self) -> Forest:
        return Forest(self.parameters, self.conditions, self.forbidden)

    @property
    def has_structure(self) -> bool:
        """Whether parameters depend on each other."""
        return bool(self.conditions or self.forbidden)

    @cached_property
    def ordered(self) -> tuple[Parameter, ...]:
        """Parents before the parameters that their values decide on."""
        return tuple(self._by_name[axis.name] for axis in self.forest.order)

    def exists(self, name: str, values: Mapping[str, Value]) -> bool:
        """Whether the parameter exists, by the values of those that do and come before it."""
        return self._holds(self.conditions.get(name, {}), values)

    def point(self, values: Mapping[str, Value]) -> Point:
        """The point with these values. Raises ValueError naming the parameter that does not fit."""
        if unknown := values.keys() - self._by_name.keys():
            raise ValueError(f"no parameter {', '.join(sorted(unknown))}")
        canonical = self._canonical(values)
        there = {p.name for p in self.ordered if self.exists(p.name, canonical)}
        if missing := [p.name for p in self.parameters if p.name in there and p.name not in values]:
            raise ValueError(f"no value for {', '.join(missing)}")
        for name in canonical.keys() - there:
            raise ValueError(self._told_of_absent(name))
        if (combination := self.forbidden_by(canonical)) is not None:
            raise Forbidden(f"the combination {words.text(combination)} is forbidden")
        return self._keyed(canonical)

    def part(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The canonical values of those parameters that have one here; other names are left out.

        Raises ValueError naming the parameter that does not fit, or if no point has all of these values.
        """
        canonical = self._canonical(values)
        if self.has_structure and self._having(canonical).size == 0:
            raise ValueError(self._told_of_impossible(canonical))
        return canonical

    def forbidden_by(self, values: Mapping[str, Value]) -> Condition | None:
        """The forbidden combination that is among these values; None if there is none."""
        return next((each for each in self.forbidden if self._holds(each, values)), None)

    def at(self, index: int) -> Point:
        """The point with this index, 0 to size - 1, in a finite space. The last parameter runs fastest."""
        return self._keyed(self.forest.at(index))

    def index(self, point: Point) -> int:
        """The index of a point of a finite space."""
        return self.forest.index(point.values)

    def uniform(self, generator: random.Random) -> Point:
        """A uniformly random point.

        In an infinite space each parameter is drawn by itself, parents first (log-uniform if it is so).
        """
        size = self.forest.size if self.has_structure else None
        drawn = self.forest.draw(generator) if size is None else self.forest.at(generator.randrange(size))
        return self._keyed(drawn)

    def completed(self, values: Mapping[str, Value], generator: random.Random) -> Point:
        """A random point that has these values. Raises ValueError if there is none."""
        return self._keyed(self._having(values).draw(generator))

    @cached_property
    def _by_name(self) -> Mapping[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    def _having(self, values: Mapping[str, Value]) -> Forest:
        """Only the points with these values."""
        only = {name: _one(self._by_name[name], value) for name, value in values.items()}
        return Forest(self.parameters, self.conditions, self.forbidden, only)

    def _holds(self, condition: Condition, values: Mapping[str, Value]) -> bool:
        return all(
            name in values and holds(self._by_name[name], allowed, values[name])
            for name, allowed in condition.items()
        )

    def _canonical(self, values: Mapping[str, Value]) -> dict[str, Value]:
        canonical: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.name in values:
                try:
                    canonical[parameter.name] = parameter.canonical(values[parameter.name])
                except (ValueError, TypeError, OverflowError) as error:
                    raise ValueError(f"{parameter.name}: {error}") from None
        return canonical

    def _keyed(self, values: Mapping[str, Value]) -> Point:
        """The point with these canonical values, which is known to be one."""
        ordered = {p.name: values[p.name] for p in self.parameters if p.name in values}
        tokens = {name: self._by_name[name].token(value) for name, value in ordered.items()}
        text = json.dumps(tokens, sort_keys=True, separators=(",", ":"))
        key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return Point(values=ordered, key=key)

    def _told_of_absent(self, name: str) -> str:
        return f"{name} has a value, but exists only with {words.text(self.conditions[name])}"

    def _told_of_impossible(self, values: Mapping[str, Value]) -> str:
        for name in values:
            for parent, allowed in self.conditions.get(name, {}).items():
                if parent in values and not holds(self._by_name[parent], allowed, values[parent]):
                    return self._told_of_absent(name)
        if (combination := self.forbidden_by(values)) is not None:
            return f"the combination {words.text(combination)} is forbidden"
        return f"no point has these values of {', '.join(values)} together"


def _one(parameter: Parameter, value: Value) -> Sequence[Span]:
    return spans(parameter, words.OneOf(values=(value,)))
