"""The search space: parameters, points and their canonical keys, and the indexes of a finite space's points.

A point's key is the same on every host, and the same for a point that plain Optuna drew: a
categorical value counts by its index, an int by its value, a stepped float by the index of its step
(so that 0.6 and 0.6000000000000001 are one point), any other float by its exact bits.
Nothing here may know Optuna or the database.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping


Value = int | float | str | bool

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

    def uniform(self, generator: random.Random) -> int:
        return self.at(generator.randrange(self.size))


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

    def uniform(self, generator: random.Random) -> float:
        if (size := self.size) is not None:
            return self.at(generator.randrange(size))
        if self.log:
            drawn = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        else:
            drawn = generator.uniform(self.low, self.high)
        return min(max(drawn, self.low), self.high)


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

    def uniform(self, generator: random.Random) -> Value:
        return self.choices[generator.randrange(self.size)]


Parameter = IntParameter | FloatParameter | CategoricalParameter

_KINDS: dict[str, type[Parameter]] = {
    "int": IntParameter,
    "float": FloatParameter,
    "categorical": CategoricalParameter,
}


def document(parameter: Parameter) -> dict[str, Any]:
    """The parameter's table as a file has it; a step that is not set is left out."""
    if isinstance(parameter, CategoricalParameter):
        return {"type": "categorical", "choices": list(parameter.choices)}
    kind = "int" if isinstance(parameter, IntParameter) else "float"
    step = {} if parameter.step is None else {"step": parameter.step}
    return {"type": kind, "low": parameter.low, "high": parameter.high, **step, "log": parameter.log}


def documented(name: str, table: Mapping[str, Any]) -> Parameter:
    """The parameter from the table that ``document`` made of it."""
    rest: dict[str, Any] = {
        key: tuple(value) if key == "choices" else value for key, value in table.items() if key != "type"
    }
    return _KINDS[table["type"]](name=name, **rest)


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

    @cached_property
    def size(self) -> int | None:
        """The number of points; None if a parameter is continuous or there are over ``MOST_POINTS``."""
        product = 1
        for parameter in self.parameters:
            if (size := parameter.size) is None:
                return None
            product *= size
        return product if product <= MOST_POINTS else None

    def point(self, values: Mapping[str, Value]) -> Point:
        """The point with these values. Raises ValueError naming the parameter that does not fit."""
        if missing := [p.name for p in self.parameters if p.name not in values]:
            raise ValueError(f"no value for {', '.join(missing)}")
        if unknown := values.keys() - {p.name for p in self.parameters}:
            raise ValueError(f"no parameter {', '.join(sorted(unknown))}")
        canonical = self.part(values)
        tokens = {parameter.name: parameter.token(canonical[parameter.name]) for parameter in self.parameters}
        text = json.dumps(tokens, sort_keys=True, separators=(",", ":"))
        key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return Point(values=canonical, key=key)

    def part(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The canonical values of those parameters that have one here; other names are left out.

        Raises ValueError naming the parameter that does not fit.
        """
        canonical: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.name in values:
                try:
                    canonical[parameter.name] = parameter.canonical(values[parameter.name])
                except (ValueError, TypeError, OverflowError) as error:
                    raise ValueError(f"{parameter.name}: {error}") from None
        return canonical

    def at(self, index: int) -> Point:
        """The point with this index, 0 to size - 1, in a finite space. The last parameter runs fastest."""
        values: dict[str, Value] = {}
        for parameter in reversed(self.parameters):
            size = parameter.size
            if size is None:
                raise ValueError(f"{parameter.name} is continuous: its points have no numbers")
            index, digit = divmod(index, size)
            values[parameter.name] = parameter.at(digit)
        return self.point(values)

    def uniform(self, generator: random.Random) -> Point:
        """A uniformly random point (log-uniform if the parameter is)."""
        return self.point({p.name: p.uniform(generator) for p in self.parameters})
