"""The states of host, study, search and point, and the transitions between them.

Each state machine is one enum and one table. The tables are the only place that defines the transitions, and
a test compares ARCHITECTURE.md's diagrams with them. This module must never change the state of anything.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

S = TypeVar("S", bound=StrEnum)


class HostState(StrEnum):
    """The life of one daemon process."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    ABORTING = "aborting"
    STOPPED = "stopped"


HOST_TRANSITIONS: dict[HostState, frozenset[HostState]] = {
    HostState.STARTING: frozenset({HostState.RUNNING, HostState.DRAINING, HostState.ABORTING}),
    HostState.RUNNING: frozenset({HostState.DRAINING, HostState.ABORTING}),
    HostState.DRAINING: frozenset({HostState.ABORTING, HostState.STOPPED}),
    HostState.ABORTING: frozenset({HostState.STOPPED}),
    HostState.STOPPED: frozenset(),
}


class HostCommand(StrEnum):
    """A person's word to a host, from that host or from another one."""

    DRAIN = "drain"
    ABORT = "abort"
    RESTART = "restart"


class StudyState(StrEnum):
    """How the fleet treats a study."""

    OPEN = "open"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"


STUDY_TRANSITIONS: dict[StudyState, frozenset[StudyState]] = {
    StudyState.OPEN: frozenset({StudyState.PAUSED, StudyState.CANCELLED, StudyState.DONE}),
    StudyState.PAUSED: frozenset({StudyState.OPEN, StudyState.CANCELLED, StudyState.DONE}),
    # If a person submits a cancelled or finished experiment again, it resumes.
    StudyState.CANCELLED: frozenset({StudyState.OPEN}),
    StudyState.DONE: frozenset({StudyState.OPEN}),
}


class SearchState(StrEnum):
    """Whether a host works on an experiment whose study is open, and if not, why."""

    WORKING = "working"
    #: The host could claim nothing. It tries again after a trial ends or after it has read the study again.
    IDLE = "idle"
    #: The host lacks a resource that a trial needs, the study cannot be read, or something of the experiment
    #: failed here: then it is tried again, after a pause that grows.
    RESTING = "resting"
    #: Evaluations fail on this host. A person has to resume the experiment.
    PAUSED = "paused"
    #: A person took its file out of ``active/``. Running trials may finish.
    WITHDRAWN = "withdrawn"
    #: The study is over or was deleted. The host kills and settles running trials.
    ENDING = "ending"


#: Each of these may follow unless the search is withdrawn or ending.
_STOPS = frozenset({SearchState.PAUSED, SearchState.WITHDRAWN, SearchState.ENDING})

SEARCH_TRANSITIONS: dict[SearchState, frozenset[SearchState]] = {
    SearchState.WORKING: _STOPS | {SearchState.IDLE, SearchState.RESTING},
    SearchState.IDLE: _STOPS | {SearchState.WORKING, SearchState.RESTING},
    # The same state may follow with another reason.
    SearchState.RESTING: _STOPS | {SearchState.WORKING, SearchState.RESTING},
    SearchState.PAUSED: _STOPS | {SearchState.WORKING, SearchState.RESTING},
    SearchState.WITHDRAWN: frozenset({SearchState.ENDING}),
    # It goes back if the database was away, and then checks the end again.
    SearchState.ENDING: frozenset(
        {SearchState.WORKING, SearchState.RESTING, SearchState.PAUSED, SearchState.WITHDRAWN}
    ),
}


class PointState(StrEnum):
    """The state of a point. A point without a row in the database is free."""

    FREE = "free"
    HELD = "held"
    DONE = "done"
    FAILED = "failed"
    #: Its evaluation gave it up: it has no value, and no person needs to mend anything.
    PRUNED = "pruned"

    @property
    def is_visited(self) -> bool:
        return self in VISITED


#: No host draws a visited point again by accident. The study is done once all points are visited.
VISITED = frozenset({PointState.DONE, PointState.FAILED, PointState.PRUNED})

POINT_TRANSITIONS: dict[PointState, frozenset[PointState]] = {
    # Ended at once by a result whose claim was settled, or whose claim the database has forgotten.
    PointState.FREE: frozenset({PointState.HELD, PointState.DONE, PointState.FAILED, PointState.PRUNED}),
    PointState.HELD: frozenset({PointState.FREE, PointState.DONE, PointState.FAILED, PointState.PRUNED}),
    # A value came late, after the trial was declared lost, or a person wants it evaluated again.
    PointState.FAILED: frozenset({PointState.DONE, PointState.FREE}),
    # A value came late, of an evaluation that another host had begun before.
    PointState.PRUNED: frozenset({PointState.DONE}),
    PointState.DONE: frozenset(),
}


def advance(table: dict[S, frozenset[S]], now: S, then: S) -> S:
    """Returns ``then`` if it may follow ``now``, and raises ValueError otherwise."""
    if then not in table[now]:
        raise ValueError(f"{then} cannot follow {now}")
    return then


def predecessors(table: dict[S, frozenset[S]], then: S) -> frozenset[S]:
    """The states that ``then`` may follow."""
    return frozenset(now for now, following in table.items() if then in following)
