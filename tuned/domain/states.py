"""The states of host, study, search and point, what may follow what, and how an evaluation ends.

Each state machine is one enum and one table. Nothing here does anything; the tables are the only
place that says what may follow, and ARCHITECTURE.md's diagrams are held against them by a test.
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


class StudyState(StrEnum):
    """What the fleet does with a study."""

    OPEN = "open"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"


STUDY_TRANSITIONS: dict[StudyState, frozenset[StudyState]] = {
    StudyState.OPEN: frozenset({StudyState.PAUSED, StudyState.CANCELLED, StudyState.DONE}),
    StudyState.PAUSED: frozenset({StudyState.OPEN, StudyState.CANCELLED, StudyState.DONE}),
    # A cancelled or finished experiment that is submitted again goes on where it stopped.
    StudyState.CANCELLED: frozenset({StudyState.OPEN}),
    StudyState.DONE: frozenset({StudyState.OPEN}),
}


class SearchState(StrEnum):
    """Whether a host works on an experiment whose study is open, and if not, why."""

    WORKING = "working"
    #: Nothing could be claimed: until a trial ends, or the study is looked at again.
    IDLE = "idle"
    #: The host cannot give what a trial needs.
    RESTING = "resting"
    #: Evaluations fail on this host: until a person resumes the experiment.
    PAUSED = "paused"
    #: Its file was taken out of ``active/`` by hand: what runs may finish.
    WITHDRAWN = "withdrawn"
    #: The study is over or was deleted: what runs is killed and settled.
    ENDING = "ending"


#: Of these each may follow as long as the search is not withdrawn or ending.
_STOPS = frozenset({SearchState.PAUSED, SearchState.WITHDRAWN, SearchState.ENDING})


SEARCH_TRANSITIONS: dict[SearchState, frozenset[SearchState]] = {
    SearchState.WORKING: _STOPS | {SearchState.IDLE, SearchState.RESTING},
    SearchState.IDLE: _STOPS | {SearchState.WORKING, SearchState.RESTING},
    # The same state may follow for another reason.
    SearchState.RESTING: _STOPS | {SearchState.WORKING, SearchState.RESTING},
    SearchState.PAUSED: _STOPS | {SearchState.WORKING, SearchState.RESTING},
    SearchState.WITHDRAWN: frozenset({SearchState.ENDING}),
    # Back if the database was away: the end is looked at again.
    SearchState.ENDING: frozenset(
        {SearchState.WORKING, SearchState.RESTING, SearchState.PAUSED, SearchState.WITHDRAWN}
    ),
}


class PointState(StrEnum):
    """What is known of a point. A point without a row in the database is free."""

    FREE = "free"
    HELD = "held"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_visited(self) -> bool:
        return self in VISITED


#: Visited points are never drawn again by accident; when all points are visited, the study is done.
VISITED = frozenset({PointState.DONE, PointState.FAILED})


POINT_TRANSITIONS: dict[PointState, frozenset[PointState]] = {
    PointState.FREE: frozenset({PointState.HELD, PointState.DONE}),
    PointState.HELD: frozenset({PointState.FREE, PointState.DONE, PointState.FAILED}),
    # A late value of a trial that was taken for lost; or a person wants it evaluated again.
    PointState.FAILED: frozenset({PointState.DONE, PointState.FREE}),
    PointState.DONE: frozenset(),
}


def advance(table: dict[S, frozenset[S]], now: S, then: S) -> S:
    """Returns ``then`` if it may follow ``now``; raises ValueError otherwise."""
    if then not in table[now]:
        raise ValueError(f"{then} cannot follow {now}")
    return then


def predecessors(table: dict[S, frozenset[S]], then: S) -> frozenset[S]:
    """The states that ``then`` may follow."""
    return frozenset(now for now, following in table.items() if then in following)
