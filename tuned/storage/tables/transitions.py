"""Builds the statements that move a study or a point into another state, from the tables of states.

No other module sets the state of an existing row. Each UPDATE affects only rows whose state may precede the
new one. A point is free until it gets its first row.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import case, literal, null, or_, update

from tuned.domain.states import POINT_TRANSITIONS, STUDY_TRANSITIONS, PointState, StudyState, predecessors
from tuned.storage.tables.functions import epoch
from tuned.storage.tables.schema import t_point, t_study

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Case, ColumnElement, Table, Update


def move_study(then: StudyState, *, since: StudyState | None = None) -> Update:
    """Moves studies into a state, from all states that may precede it, or only from ``since``.

    Raises ValueError if ``since`` may not precede it.
    """
    before = predecessors(STUDY_TRANSITIONS, then)
    has_ended = then in (StudyState.CANCELLED, StudyState.DONE)
    move = _move(t_study, then, before, since).values(ended=epoch() if has_ended else null())
    if then is not StudyState.OPEN:
        return move
    # A study that is opened again has not ended; one that is only resumed may have been stopped meanwhile.
    is_paused = t_study.c.state == StudyState.PAUSED
    return move.values(ended_by=case((is_paused, t_study.c.ended_by), else_=None))


def study_moved(then: StudyState, condition: ColumnElement[bool]) -> Case[str]:
    """A study's state, for an UPDATE of more: the new one if the condition holds and it may follow."""
    state = t_study.c.state
    may_follow = or_(*(state == each for each in sorted(predecessors(STUDY_TRANSITIONS, then))))
    return case((may_follow & condition, literal(then, state.type)), else_=state)


def move_point(then: PointState, *, since: PointState | None = None) -> Update:
    """As ``move_study``, but moves points."""
    before = predecessors(POINT_TRANSITIONS, then)
    return _move(t_point, then, before, since)


def _move(table: Table, then: StrEnum, before: Collection[StrEnum], since: StrEnum | None) -> Update:
    if since is not None and since not in before:
        raise ValueError(f"{then} cannot follow {since}")
    state = table.c.state
    # Not IN, because SQLAlchemy expands it only when the statement runs, and others may be joined to it
    # before.
    is_before = or_(*(state == each for each in (sorted(before) if since is None else [since])))
    # Bound by no name, because the statement may be joined with others and get values of its own.
    return update(table).where(is_before).values(state=literal(then, state.type))
