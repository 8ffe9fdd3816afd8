"""How one evaluation ended: with values, or with a failure and its cause.

Owns values only; it must never decide whether to try again, or which state the point gets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Cause(StrEnum):
    """Why an evaluation has no value."""

    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    OOM = "oom"
    NO_VALUE = "no-value"
    LOST = "lost"
    ABORTED = "aborted"


#: A crashed evaluation may be tried again with the same parameters in the same trial. An evaluation that ran
#: to its end or to its time limit would only do so again.
CRASHES = frozenset({Cause.EXIT, Cause.SIGNAL, Cause.OOM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an evaluation failed, as the trial's user attribute ``FAILURE`` keeps it."""

    cause: Cause
    message: str
    #: Further facts for machines, such as ``status`` of an exit or ``signal`` by name.
    detail: dict[str, Any] = field(default_factory=dict)

    def attribute(self) -> dict[str, Any]:
        return {"cause": self.cause.value, "message": self.message, **self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one evaluation ended: with values, or with a failure; never with both or neither."""

    values: tuple[float, ...] | None = None
    failure: Failure | None = None
    #: Intermediate values by step, in the order in which they were reported.
    intermediate: dict[int, float] = field(default_factory=dict)
    #: User attributes that the trial gave itself, by name, as JSON.
    user_attrs: dict[str, str] = field(default_factory=dict)
    #: Why earlier attempts at the same trial crashed, oldest first.
    retried: tuple[Failure, ...] = ()

    @property
    def attempts(self) -> int:
        return 1 + len(self.retried)

    def __post_init__(self) -> None:
        if (self.values is None) == (self.failure is None):
            raise ValueError("an ending has either values or a failure")
