"""Types of single fields, which several shapes share.

Every shape is plain JSON. Times are ISO 8601 in UTC (``2025-01-31T12:00:00.123456+00:00``), spans are in
seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict, TypeVar

T = TypeVar("T")

#: Marks a field that only readers who may change something get: it may quote what a trial printed, or is
#: secret. The socket leaves it out for others, wherever in an answer its shape stands.
TRUSTED_ONLY = "trusted only"

TrustedOnly = Annotated[T, TRUSTED_ONLY]

#: Marks a number that may be infinite. JSON has no infinity: such a number goes as one of these strings.
MAY_BE_INFINITE = "may be infinite"

INFINITIES = ("Infinity", "-Infinity", "NaN")

Measured = Annotated[float, MAY_BE_INFINITE]

#: Marks a moment: ISO 8601 with its zone.
TIME = "time"

Time = Annotated[str, TIME]


class OffView(TypedDict):
    """A time in which a host does not work, by its hours."""

    since: Time
    until: Time


#: Marks an absolute path.
PATH = "path"

AbsolutePath = Annotated[str, PATH]

#: Marks a word that a newer daemon may choose among more words than these.
OPEN = "open"

#: A parameter's value, as in tuned.domain.space.
Value = int | float | str | bool

Params = dict[str, Value]

#: Of HostState; "dead" for a host whose beats have stopped.
HostStateName = Literal["starting", "running", "draining", "aborting", "stopped", "dead"]

#: Of StudyState; "unreadable" for a study whose rows in the database cannot be understood.
StudyStateName = Literal["open", "paused", "cancelled", "done", "unreadable"]

DirectionName = Literal["minimize", "maximize"]

TrialStateName = Literal["COMPLETE", "RUNNING", "FAIL", "WAITING", "PRUNED"]

TRIAL_STATES: tuple[TrialStateName, ...] = ("COMPLETE", "RUNNING", "FAIL", "WAITING", "PRUNED")
