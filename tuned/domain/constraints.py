"""The constraints of a trial: named numbers that it reports, and that are kept if they are 0 or below.

The daemon and trials in Python import this module, so it must never import anything heavy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tuned.domain.attributes import LONGEST_ATTRIBUTE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Begins the name of the system attribute in which Optuna keeps one.
PREFIX = "constraints:"

#: Optuna's column holds the prefix and the name.
LONGEST_NAME = LONGEST_ATTRIBUTE_NAME - len(PREFIX)

#: A trial has no more of them.
MOST_CONSTRAINTS = 256

TOO_MANY = f"found more than {MOST_CONSTRAINTS} constraints"


def constraint_problem(name: object, value: object) -> str | None:
    """Why a trial may not have this constraint; None if it may."""
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= LONGEST_NAME:
        found = _short(name)
        return f"found {found} as a constraint's name, expected 1 to {LONGEST_NAME} printable characters"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"constraint {_short(name)}: found {_short(value)}, expected a number"
    try:
        number = float(value)
    except OverflowError:
        return f"constraint {_short(name)}: found {_short(value)}, expected a number that a float can hold"
    return f"constraint {_short(name)}: found NaN, expected a number" if math.isnan(number) else None


def attributes(constraints: Mapping[str, float]) -> dict[str, float]:
    """The system attributes in which Optuna keeps them."""
    return {f"{PREFIX}{name}": value for name, value in constraints.items()}


def violation(values: Iterable[float]) -> float:
    """How far a trial is from being feasible, as Optuna's samplers measure it; 0 if it is."""
    return sum(value for value in values if value > 0)


def _short(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 60 else f"{text[:57]}..."
