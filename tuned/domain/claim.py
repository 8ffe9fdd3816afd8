"""The words of a claim: the candidate that somebody drew, the claimant, and the possible answers.

Only values; it must never draw a point or ask the database.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tuned.domain.states import PointState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.domain.space import Point


class Origin(StrEnum):
    """Where a point came from."""

    SAMPLER = "sampler"
    #: ``[[points]]`` of the experiment file.
    POINTS = "points"
    #: ``study.enqueue_trial`` of plain Optuna.
    ENQUEUED = "enqueued"
    #: Aborted or lost before.
    FREED = "freed"
    #: The next unvisited one.
    WALK = "walk"
    #: Nobody drew it: a value that came too late for its trial became a trial of its own.
    LATE = "late"


class TrialKind(StrEnum):
    """Why tuned wrote a trial. One of another program has no kind."""

    #: A host evaluates it, or has evaluated it.
    EVALUATED = "evaluated"
    #: COMPLETE with the values of its twin.
    REUSED = "reused"
    #: FAIL, because its twin was being evaluated.
    SKIPPED = "skipped"
    #: A value that came too late for its own trial, which is its twin.
    LATE = "late"
    #: Enqueued by plain Optuna with parameters that are no point of the space.
    REFUSED = "refused"


class Action(StrEnum):
    """What became of a duplicate."""

    REUSE = "reuse"
    SKIP = "skip"
    WAIT = "wait"
    #: No trial was made; another point is to be drawn.
    RESAMPLE = "resample"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """Who claims: the host's name, and this run of its daemon."""

    host: str
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A point that somebody drew and that is to be claimed."""

    point: Point
    origin: Origin
    #: What the sampler wrote on its draft.
    attributes: Mapping[str, Any] = field(default_factory=dict)
    #: The WAITING trial that this point is for, if plain Optuna enqueued it.
    waiting_trial: int | None = None
    #: It was a duplicate of a held point before, and waited for its twin.
    was_parked: bool = False
    #: It was drawn before the slot was free: what is a duplicate by now is drawn again.
    is_ahead: bool = False
    #: By this a claim whose commit had an unknown outcome is found again.
    claim_id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The point is ours: evaluate it and tell."""

    study_id: int
    trial_id: int
    number: int
    replica: int
    candidate: Candidate
    #: Whose it is; once that is dead, the point is for others.
    incarnation: str

    @property
    def point(self) -> Point:
        return self.candidate.point


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The trial that has the point already."""

    trial_id: int
    number: int
    #: None for a trial of plain Optuna.
    host: str | None
    state: PointState


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Somebody has the point."""

    twin: Twin
    action: Action
    candidate: Candidate
    #: The trial that was written for the duplicate, if one was.
    number: int | None = None
    values: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """All points are visited or held."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The claim was refused: the budget, the study's state or this host's forbid it, or it came too late.

    Where the study stands says which; it is to be looked at again.
    """


Outcome = Claimed | Duplicate | Idle | Closed


def new_claim_id() -> str:
    """By a claim's id the claim is found again when its commit had an unknown outcome."""
    return uuid.uuid4().hex
