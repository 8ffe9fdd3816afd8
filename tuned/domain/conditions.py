"""Conditions on the values of parameters: when a parameter exists, and which points are never evaluated.

It owns their form and their words. It knows no parameter, so it cannot say which values a range has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = int | float | str | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """Some values, each once."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        shown = [json.dumps(value, ensure_ascii=False) for value in self.values]
        return f"= {shown[0]}" if len(shown) == 1 else f"one of {', '.join(shown)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """The values from ``low`` to ``high``, both included; None leaves the range open at its end."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None:
            return f"at most {self.high}"
        return f"at least {self.low}" if self.high is None else f"from {self.low} to {self.high}"


Allowed = OneOf | Between

#: By the parameters' names. It holds if all of them exist and have values that it allows.
Condition = Mapping[str, Allowed]


def text(condition: Condition) -> str:
    """For people: ``optimizer = "sgd" and layers from 2 to 4``."""
    return " and ".join(f"{name} {allowed}" for name, allowed in condition.items())


def document(condition: Condition) -> dict[str, Any]:
    """The condition's table as a file has it."""
    return {name: _table(allowed) for name, allowed in condition.items()}


def allowed(raw: Any) -> Allowed:
    """The values that a file allows by one value, an array of them, or a table of ``min`` and ``max``."""
    if isinstance(raw, Mapping):
        return Between(low=raw.get("min"), high=raw.get("max"))
    return OneOf(values=tuple(raw) if isinstance(raw, list | tuple) else (raw,))


def _table(allowed: Allowed) -> Any:
    if isinstance(allowed, OneOf):
        return allowed.values[0] if len(allowed.values) == 1 else list(allowed.values)
    ends = {"min": allowed.low, "max": allowed.high}
    return {name: end for name, end in ends.items() if end is not None}
