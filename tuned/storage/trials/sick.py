"""SICK: gives back what an experiment lost by a host that fails while others do well.

Ten crashes in a row on one host, of which the first came before a trial ended well on another one, say more
of the host than of the points. They stay FAIL, with the cause ``host``: their points are free, their charges
refunded, and they do not count for stalling. A row is read from the trials, so any host finds it, also after
a restart. This module must never touch a study that has ended, take back its end, or give back a trial twice.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import Connection, Row, Select, and_, delete, exists, func, or_, select, update

from tuned.domain import ending
from tuned.domain.claim import TrialKind
from tuned.domain.ending import Cause
from tuned.domain.states import PointState, StudyState
from tuned.errors import NotFound
from tuned.storage.tables.functions import affected
from tuned.storage.tables.schema import studies, t_point, t_study, t_trial, trial_user_attributes, trials
from tuned.storage.tables.transitions import move_point
from tuned.storage.trials import ends
from tuned.storage.trials.trial_rows import restored_attribute, stored_attribute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.storage.database import Database

_IS_CRASH = t_trial.c.went_well.is_not(None)

#: Ended by itself on a host: the value, a verdict, or a failure of the point or of the program. A crash that
#: the database had forgotten counts neither for the host nor against it.
_HAS_ENDED = and_(
    t_trial.c.kind.in_([TrialKind.EVALUATED, TrialKind.LATE]),
    trials.c.state.in_([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]),
    or_(_IS_CRASH, t_trial.c.cause.is_(None), t_trial.c.cause.in_([Cause.TIMEOUT, Cause.NO_VALUE])),
)


def find_and_give_back(database: Database, study_id: int) -> list[int]:
    """Gives back what sick hosts took from a study, and returns the numbers of the trials.

    Raises DatabaseAway.
    """
    with database.reading() as connection:
        if not _rows(connection, study_id):
            return []
    try:
        with database.locking(studies, study_id) as connection:
            return give_back(connection, study_id)
    except NotFound:
        return []


def give_back(connection: Connection, study_id: int) -> list[int]:
    """The same, under the lock on the study's row, which the caller holds."""
    mine = t_study.c.study_id == study_id
    # The lock on our row puts this before or behind a tell.
    study = connection.execute(select(t_study.c.state).where(mine).with_for_update(key_share=True)).one()
    if study.state not in (StudyState.OPEN, StudyState.PAUSED):
        return []
    found = _rows(connection, study_id)
    if not found:
        return []
    charged = [row for row in found if row.is_charged]
    freed = _free(connection, study_id, [row.trial_id for row in found])
    connection.execute(
        update(t_study)
        .where(mine)
        .values(
            trials=t_study.c.trials - len(charged),
            evaluations=t_study.c.evaluations - sum(row.evaluations for row in charged),
            visited=t_study.c.visited - freed,
        )
    )
    for row in found:
        _note(connection, row)
    ends.count_anew(connection, study_id)
    return [row.number for row in found]


def _rows(connection: Connection, study_id: int) -> list[Row[Any]]:
    """The trials to be given back, of all sick hosts of a study."""
    by_host: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(_newest_crashes(study_id)):
        by_host[row.host].append(row)
    long = [rows for rows in by_host.values() if len(rows) >= ending.MOST_CRASHES_IN_A_ROW]
    found = [rows for rows in long if _goes_well_elsewhere(connection, study_id, rows)]
    return [row for rows in found for row in rows if row.cause != Cause.HOST]


def _newest_crashes(study_id: int) -> Select[Any]:
    """The crashes of each host since its last other end, those given back included; the oldest first.

    By one host's clock and by the order of its tells, so it does not matter whose clock is right.
    """
    of_study = and_(trials.c.study_id == study_id, trials.c.trial_id == t_trial.c.trial_id, _HAS_ENDED)
    others = (
        select(t_trial.c.host, func.max(trials.c.datetime_complete).label("last"))
        .where(of_study, ~_IS_CRASH)
        .group_by(t_trial.c.host)
        .subquery()
    )
    return (
        select(
            t_trial.c.host,
            t_trial.c.cause,
            t_trial.c.is_charged,
            t_trial.c.evaluations,
            t_trial.c.went_well,
            trials.c.trial_id,
            trials.c.number,
        )
        .join(trials, trials.c.trial_id == t_trial.c.trial_id)
        .join(others, others.c.host == t_trial.c.host, isouter=True)
        .where(of_study, _IS_CRASH)
        .where(or_(others.c.last.is_(None), trials.c.datetime_complete > others.c.last))
        .order_by(trials.c.datetime_complete, trials.c.trial_id)
    )


def _goes_well_elsewhere(connection: Connection, study_id: int, rows: Sequence[Row[Any]]) -> bool:
    """Whether a trial ended well on another host since the first of these, none of which did."""
    good = and_(
        trials.c.study_id == study_id,
        trials.c.state.in_([TrialState.COMPLETE, TrialState.PRUNED]),
        t_trial.c.trial_id == trials.c.trial_id,
        t_trial.c.kind.in_([TrialKind.EVALUATED, TrialKind.LATE]),
        t_trial.c.host != rows[0].host,
    )
    now = select(t_study.c.complete + t_study.c.pruned).where(
        t_study.c.study_id == study_id, exists().where(good)
    )
    good_now: int = connection.execute(now).scalar() or 0
    first: int = min(row.went_well for row in rows)
    return good_now > first


def _free(connection: Connection, study_id: int, trial_ids: Sequence[int]) -> int:
    """Frees the points that these trials still have, and returns how many were visited by them."""
    theirs = and_(t_point.c.study_id == study_id, t_point.c.trial_id.in_(trial_ids))
    # Nobody has to evaluate a deliberate repetition again.
    connection.execute(
        delete(t_point).where(theirs, t_point.c.replica > 0, t_point.c.state == PointState.FAILED)
    )
    free = move_point(PointState.FREE, since=PointState.FAILED).where(theirs)
    return affected(connection.execute(free))


def _note(connection: Connection, row: Row[Any]) -> None:
    connection.execute(
        update(t_trial).where(t_trial.c.trial_id == row.trial_id).values(cause=Cause.HOST, is_charged=False)
    )
    failure = and_(trial_user_attributes.c.trial_id == row.trial_id, trial_user_attributes.c.key == "FAILURE")
    known = connection.execute(select(trial_user_attributes.c.value_json).where(failure)).scalar()
    told = {} if known is None else restored_attribute(known)
    said = {**told, "cause": Cause.HOST.value, "was": told.get("cause")}
    connection.execute(update(trial_user_attributes).where(failure).values(value_json=stored_attribute(said)))
