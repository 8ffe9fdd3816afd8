"""TELL: writes the result of an evaluation, and so ends its trial.

The trial's own row is the fence: only a RUNNING trial can end, and a tell never changes a finished one. If a
value comes too late for its trial, the tell keeps it as a trial of its own.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import Connection, Row, bindparam, case, exists, func, insert, select, update

from tuned.domain.claim import Origin, TrialKind
from tuned.domain.ending import Ending
from tuned.domain.result import Result, TellOutcome
from tuned.domain.states import PointState
from tuned.errors import NotFound
from tuned.storage import trial_facts, trial_rows
from tuned.storage.encoding import ParamRow
from tuned.storage.tables import statements
from tuned.storage.tables.functions import affected, is_below
from tuned.storage.tables.schema import (
    UID_ATTRIBUTE,
    studies,
    study_system_attributes,
    t_point,
    t_study,
    trial_params,
    trials,
)
from tuned.storage.tables.transitions import move_point

if TYPE_CHECKING:
    from tuned.storage.database import Database


class _Late(Exception):
    """Rolls the transaction back: the trial is no longer RUNNING."""


def tell(database: Database, result: Result) -> TellOutcome:
    """Ends a trial whose evaluation ended by itself, with its values or its failure.

    Callers may repeat it at will, and settle an interrupted trial instead. Raises DatabaseAway.
    """
    try:
        # Our study's row comes before the trial's, because all transactions lock in one order.
        with database.locking(t_study, result.study_id) as connection:
            _end(connection, result)
            return TellOutcome.TOLD
    except NotFound:
        return TellOutcome.DROPPED
    except _Late:
        pass
    try:
        return _tell_late(database, result)
    except NotFound:
        return TellOutcome.DROPPED


#: The fence: a trial can end only while it is RUNNING, and in the study in which a host claimed it.
_FINISH = (
    update(trials)
    .where(trials.c.trial_id == bindparam("trial"), trials.c.state == TrialState.RUNNING)
    .where(
        exists().where(
            study_system_attributes.c.study_id == trials.c.study_id,
            study_system_attributes.c.key == UID_ATTRIBUTE,
            study_system_attributes.c.value_json == bindparam("uid"),
        )
    )
    .values(state=bindparam("ended"), datetime_complete=bindparam("now"))
)

#: By its trial, because a late value may have moved our claim to another replica.
_MINE = (
    t_point.c.study_id == bindparam("study"),
    t_point.c.trial_id == bindparam("trial"),
    t_point.c.state == PointState.HELD,
)

_COUNT = (
    update(t_study)
    .where(t_study.c.study_id == bindparam("study"))
    .values(
        # A repetition is no visit.
        visited=t_study.c.visited + case((exists().where(*_MINE, t_point.c.replica == 0), 1), else_=0),
        complete=t_study.c.complete + bindparam("has_value"),
        failed=t_study.c.failed + bindparam("has_none"),
    )
)

_VISIT = {
    verdict: move_point(verdict, since=PointState.HELD).where(*_MINE)
    for verdict in (PointState.DONE, PointState.FAILED)
}


def _end(connection: Connection, result: Result) -> None:
    ending = result.ending
    state = TrialState.FAIL if ending.values is None else TrialState.COMPLETE
    fence = {
        "trial": result.trial_id,
        "uid": trial_rows.stored_attribute(result.study_uid),
        "ended": state,
        "now": trial_rows.utc_now(),
    }
    if affected(connection.execute(_FINISH, fence)) == 0:
        raise _Late
    mine = {"study": result.study_id, "trial": result.trial_id}
    failed = ending.failure is not None
    verdict = PointState.FAILED if failed else PointState.DONE
    statements.run(
        connection,
        # Count before the verdict, because the verdict ends our hold on the point.
        statements.Statement(_COUNT, {**mine, "has_value": int(not failed), "has_none": int(failed)}),
        statements.Statement(_VISIT[verdict], mine),
        trial_rows.values(result.trial_id, ending.values or ()),
        trial_rows.user_attributes(result.trial_id, _attributes(ending)),
        trial_facts.ended(
            result.trial_id,
            None if ending.failure is None else ending.failure.cause,
            attempts=ending.attempts,
        ),
    )
    trial_rows.insert_intermediate(connection, result.trial_id, ending.intermediate)
    trial_rows.set_user_attributes(connection, result.trial_id, ending.user_attrs)


def _is_same_study(connection: Connection, result: Result) -> bool:
    kept = select(study_system_attributes.c.value_json).where(
        study_system_attributes.c.study_id == result.study_id,
        study_system_attributes.c.key == UID_ATTRIBUTE,
    )
    return connection.execute(kept).scalar() == trial_rows.stored_attribute(result.study_uid)


def _attributes(ending: Ending) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if ending.failure is not None:
        attributes["FAILURE"] = ending.failure.attribute()
    if ending.retried:
        attributes["RETRIED"] = [failure.attribute() for failure in ending.retried]
    return attributes


def _tell_late(database: Database, result: Result) -> TellOutcome:
    """Keeps a value whose trial has already ended, unless its point has a value."""
    if result.ending.values is None:
        return TellOutcome.DROPPED
    with database.locking(studies, result.study_id) as connection:
        ended = connection.execute(
            select(trials.c.state).where(trials.c.trial_id == result.trial_id)
        ).scalar()
        point = connection.execute(
            select(t_point).where(
                t_point.c.study_id == result.study_id, t_point.c.key == result.key, t_point.c.replica == 0
            )
        ).first()
        if ended is not TrialState.FAIL or point is None or point.state == PointState.DONE:
            return TellOutcome.DROPPED
        if not _is_same_study(connection, result):
            return TellOutcome.DROPPED
        _insert_late(connection, result, point)
    return TellOutcome.LATE


def _insert_late(connection: Connection, result: Result, point: Row[Any]) -> None:
    given = _charge_late(connection, result, point)
    if point.state == PointState.HELD:
        # Another host evaluates it again meanwhile, and keeps its claim as a repetition.
        _make_repetition(connection, point)
    _mark_done(connection, point, given.trial_id)
    late_of = connection.execute(select(trials.c.number).where(trials.c.trial_id == result.trial_id)).scalar()
    lost = connection.execute(select(trial_params).where(trial_params.c.trial_id == result.trial_id))
    params = [
        ParamRow(param_name=p.param_name, param_value=p.param_value, distribution_json=p.distribution_json)
        for p in lost
    ]
    statements.run(
        connection,
        trial_rows.trial(result.study_id, given.trial_id, given.number, TrialState.COMPLETE),
        trial_rows.params(given.trial_id, params),
        trial_rows.values(given.trial_id, result.ending.values or ()),
        trial_rows.user_attributes(
            given.trial_id, {"HOST": {"host": result.host}, "LATE_OF": late_of, **_attributes(result.ending)}
        ),
        trial_facts.written(
            given.trial_id,
            TrialKind.LATE,
            origin=Origin.LATE,
            host=result.host,
            twin_id=result.trial_id,
            attempts=result.ending.attempts,
        ),
    )
    trial_rows.insert_intermediate(connection, given.trial_id, result.ending.intermediate)
    trial_rows.set_user_attributes(connection, given.trial_id, result.ending.user_attrs)


def _charge_late(connection: Connection, result: Result, point: Row[Any]) -> Row[Any]:
    """Charges the evaluation that was refunded, but never beyond the budget. Returns ``NEXT_TRIAL``."""
    newly_visited = 0 if PointState(point.state).is_visited else 1
    study = t_study.c
    return connection.execute(
        update(t_study)
        .where(study.study_id == bindparam("study"))
        .values(
            visited=study.visited + newly_visited,
            complete=study.complete + 1,
            trials=case((is_below(study.trials, study.trials_limit), study.trials + 1), else_=study.trials),
            evaluations=case(
                (is_below(study.evaluations, study.evaluations_limit), study.evaluations + 1),
                else_=study.evaluations,
            ),
        )
        .returning(*trial_rows.NEXT_TRIAL),
        {"study": result.study_id},
    ).one()


def _mark_done(connection: Connection, point: Row[Any], trial_id: int) -> None:
    """Gives the point to this trial, which no host holds."""
    done = {"trial_id": trial_id, "claim_id": uuid.uuid4().hex, "incarnation": ""}
    place = {"study_id": point.study_id, "key": point.key, "replica": 0}
    here = [t_point.c[name] == value for name, value in place.items()]
    if affected(connection.execute(move_point(PointState.DONE).where(*here).values(**done))) == 0:
        connection.execute(insert(t_point).values(**place, **done, state=PointState.DONE))


def _make_repetition(connection: Connection, point: Row[Any]) -> None:
    of_point = (t_point.c.study_id == point.study_id) & (t_point.c.key == point.key)
    last = connection.execute(select(func.max(t_point.c.replica)).where(of_point)).scalar_one()
    connection.execute(update(t_point).where(of_point, t_point.c.replica == 0).values(replica=last + 1))
