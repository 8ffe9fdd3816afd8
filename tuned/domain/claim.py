"""The words of a claim: the candidate that somebody drew, the claimant, and the possible outcomes.

Owns values only; it must never draw a point or ask the database.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tuned.domain.states import PointState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.domain.space import Point


class Origin(StrEnum):
    """The source of a point."""

    SAMPLER = "sampler"
    #: ``[[points]]`` of the experiment file.
    POINTS = "points"
    #: ``study.enqueue_trial`` of plain Optuna.
    ENQUEUED = "enqueued"
    #: An earlier trial of it was aborted or lost.
    FREED = "freed"
    #: The next unvisited point of the walk.
    WALK = "walk"
    #: Nobody drew it: a value came too late for its trial and became a trial of its own.
    LATE = "late"


class TrialKind(StrEnum):
    """Why tuned wrote a trial. A trial of another program has no kind."""

    #: A host evaluates it, or has evaluated it.
    EVALUATED = "evaluated"
    #: COMPLETE with the values of its twin.
    REUSED = "reused"
    #: FAIL, because its twin was being evaluated.
    SKIPPED = "skipped"
    #: A value that came too late for its own trial, which is its twin.
    LATE = "late"
    #: Plain Optuna enqueued it with parameters that are no point of the space.
    REFUSED = "refused"


class Action(StrEnum):
    """How tuned treats a duplicate."""

    REUSE = "reuse"
    SKIP = "skip"
    WAIT = "wait"
    #: Write no trial and draw another point.
    RESAMPLE = "resample"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """The host that claims, by its name, and this run of its daemon."""

    host: str
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A point that somebody drew and that a host wants to claim."""

    point: Point
    origin: Origin
    #: The system attributes that the sampler wrote on its draft.
    attributes: Mapping[str, Any] = field(default_factory=dict)
    #: The WAITING trial that this point is for, if plain Optuna enqueued it.
    waiting_trial: int | None = None
    #: It was a duplicate of a held point before, so it waited until its twin ended.
    was_parked: bool = False
    #: Prefetched before the slot was free. If it has become a duplicate since, the host draws again.
    is_ahead: bool = False
    #: Of the study's definition, by which its host would evaluate it.
    revision: int = 1
    #: Finds the claim again if the outcome of its commit is unknown.
    claim_id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """This host holds the point: it evaluates it and tells the result."""

    study_id: int
    trial_id: int
    number: int
    replica: int
    candidate: Candidate
    #: The incarnation that holds it. Once that is dead, other hosts may take the point.
    incarnation: str
    #: Seconds since 1970, by this host's clock.
    claimed_at: float = field(default_factory=time.time, compare=False)

    @property
    def claim_id(self) -> str:
        return self.candidate.claim_id

    @property
    def point(self) -> Point:
        return self.candidate.point

    @property
    def revision(self) -> int:
        return self.candidate.revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The trial that already has the point."""

    trial_id: int
    number: int
    #: None for a trial of plain Optuna.
    host: str | None
    state: PointState


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Another trial already has the point."""

    twin: Twin
    action: Action
    candidate: Candidate
    #: The number of the trial that was written for the duplicate, if one was.
    number: int | None = None
    values: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """All points are visited or held, so the host has nothing to claim."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The claim was refused: the budget, the study's or the host's state forbids it, or it came too late.

    The study's status says which, so the caller reads it again.
    """


Outcome = Claimed | Duplicate | Idle | Closed


def new_claim_id() -> str:
    """A new id, which finds the claim again if the outcome of its commit is unknown."""
    return uuid.uuid4().hex
