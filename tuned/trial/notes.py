"""Bounded notes of a trial on itself: intermediate values by step, constraints, and user attributes.

However much a trial reports, this room must never keep more than its bounds.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import structlog

from tuned.domain.attributes import attribute_problem
from tuned.domain.constraints import MOST_CONSTRAINTS, TOO_MANY, constraint_problem
from tuned.domain.ending import NAN_CONSTRAINT, Cause, Failure
from tuned.trial.curve import Curve

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()

#: Further user attributes are not kept.
MOST_ATTRIBUTES = 256


class Notes:
    """The notes of one attempt; how they are found is for its heirs."""

    def __init__(self, curve: Curve | None = None) -> None:
        self.curve = Curve() if curve is None else curve
        #: JSON, by name.
        self.user_attrs: dict[str, str] = {}
        self.constraints: dict[str, float] = {}
        #: Why no constraint of this name can be kept, by its beginning; those of no name have "".
        self._unkept: dict[str, Failure] = {}
        self._was_warned = False
        #: The last line of the exception that the objective raised.
        self.error = ""
        #: The objective itself gave the point up.
        self.is_pruned = False
        #: The objective asked for the end of the whole search.
        self.stops_search = False

    @property
    def intermediate(self) -> dict[int, float]:
        """The intermediate values of the ending."""
        return self.curve.values

    def note_attributes(self, found: object) -> None:
        if not isinstance(found, dict):
            self._warn(f"found {short(found)}, expected an object")
            return
        for name, value in found.items():
            if name not in self.user_attrs and len(self.user_attrs) == MOST_ATTRIBUTES:
                self._warn(f"found more than {MOST_ATTRIBUTES} of them")
            elif (problem := attribute_problem(name)) is not None:
                self._warn(problem)
            else:
                # As text: a value that was just read can be written now, at whatever depth it is nested.
                self.user_attrs[name] = json.dumps(value)

    def note_constraints(self, found: object) -> None:
        """The last report of a name counts."""
        if not isinstance(found, dict):
            self._unkept[""] = _unusable(f"found {short(found)} as constraints, expected an object")
            return
        for name, value in found.items():
            is_new = name not in self.constraints and short(name) not in self._unkept
            if is_new and len(self.constraints) + len(self._unkept) >= MOST_CONSTRAINTS:
                self._unkept[""] = _unusable(TOO_MANY)
            elif (problem := constraint_problem(name, value)) is not None:
                is_nan = isinstance(value, float) and math.isnan(value)
                self._unkept[short(name)] = _unusable(problem, is_nan=is_nan)
            else:
                self.constraints[name] = float(value)
                self._unkept.pop(short(name), None)

    @property
    def constraint_failure(self) -> Failure | None:
        """A trial of which a constraint is not known must not pass for feasible."""
        return next(iter(self._unkept.values()), None)

    def _warn(self, reason: str) -> None:
        # A value is worth more than an attribute beside it; and a flood of them is told once.
        if not self._was_warned:
            _log.warning("user attribute not kept", reason=reason)
        self._was_warned = True


def _unusable(problem: str, *, is_nan: bool = False) -> Failure:
    return Failure(cause=Cause.NO_VALUE, message=problem, detail=dict(NAN_CONSTRAINT) if is_nan else {})


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def short(value: object) -> str:
    """At most a hundred characters of it, for a message."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
