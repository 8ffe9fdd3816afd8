"""Bounded notes of a trial on itself: intermediate values by step, and user attributes.

However much a trial reports, this room must never keep more than its bounds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import structlog

from tuned.domain.attributes import attribute_problem
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

    def _warn(self, reason: str) -> None:
        # A value is worth more than an attribute beside it; and a flood of them is told once.
        if not self._was_warned:
            _log.warning("user attribute not kept", reason=reason)
        self._was_warned = True


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def short(value: object) -> str:
    """At most a hundred characters of it, for a message."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
