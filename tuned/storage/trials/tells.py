"""TELL: writes the result of an evaluation, and so ends its trial.

The claim is the fence: only the RUNNING trial of the result's own claim can end, and a tell never changes a
finished one. A value that comes too late for its trial becomes a trial of its own, and a result whose trial
the database has forgotten becomes that trial again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import Connection, Integer, Row, bindparam, case, exists, func, insert, or_, select, update

from tuned.domain.claim import Origin, TrialKind
from tuned.domain.counts import counted
from tuned.domain.ending import MOST_STEPS, Ending, EndState
from tuned.domain.result import Result, TellOutcome
from tuned.domain.states import PointState
from tuned.errors import NotFound
from tuned.storage.tables import statements
from tuned.storage.tables.functions import affected, is_below
from tuned.storage.tables.schema import (
    UID_ATTRIBUTE,
    studies,
    study_directions,
    study_system_attributes,
    t_host,
    t_point,
    t_study,
    t_trial,
    trials,
)
from tuned.storage.tables.transitions import move_point
from tuned.storage.trials import breaker, ends, outputs, trial_facts, trial_rows
from tuned.storage.trials.notices import Announcer

if TYPE_CHECKING:
    from tuned.storage.database import Database


class _Late(Exception):
    """Rolls the transaction back: the claim has no RUNNING trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The place of a result in the outbox, which our row of its host keeps."""

    record: int
    #: The newest record that the database has confirmed. If it does not know that one any more, it must not
    #: say that it knows this one: it has forgotten some in between.
    after: int


def tell(database: Database, result: Result, receipt: Receipt | None = None) -> TellOutcome:
    """Ends a trial whose evaluation ended by itself, with its values or its failure.

    Callers may repeat it at will, and settle an interrupted trial instead. Raises DatabaseAway, ValueError if
    the study has another number of objectives than the result.
    """
    outcome = None
    try:
        # The database may learn of the claim again between the two transactions.
        while outcome is None:
            outcome = _tell_in_time(database, result, receipt) or _tell_late(database, result, receipt)
    except NotFound:
        return TellOutcome.DROPPED
    return outcome


def _tell_in_time(database: Database, result: Result, receipt: Receipt | None) -> TellOutcome | None:
    try:
        # Our study's row comes before the trial's, because all transactions lock in one order.
        with database.judging(result.study_id) as (connection, study):
            _end(Announcer(connection=connection, wishes=database.wishes, study=study), result, receipt)
            return TellOutcome.TOLD
    except _Late:
        return None


_trial_of_claim = select(t_trial.c.trial_id).where(t_trial.c.claim_id == bindparam("claim")).scalar_subquery()

#: By a value: SQLite's RETURNING has no names of tables, so a column of both would be compared with itself.
_objectives = select(func.count()).where(study_directions.c.study_id == bindparam("study")).scalar_subquery()

#: The fence: only the trial of the claim can end, while it is RUNNING, in the study in which it was claimed.
_FINISH = (
    update(trials)
    .where(trials.c.trial_id == _trial_of_claim, trials.c.state == TrialState.RUNNING)
    .where(
        exists().where(
            study_system_attributes.c.study_id == trials.c.study_id,
            study_system_attributes.c.key == UID_ATTRIBUTE,
            study_system_attributes.c.value_json == bindparam("uid"),
        )
    )
    .values(state=bindparam("ended"), datetime_complete=bindparam("now"))
    .returning(trials.c.trial_id, trials.c.number, _objectives.label("objectives"))
)

#: The held point of the bound trial in the bound study.
_MINE = (
    t_point.c.study_id == bindparam("study"),
    t_point.c.trial_id == bindparam("trial"),
    t_point.c.state == PointState.HELD,
)

#: A repetition is no visit.
_is_visit = case((exists().where(*_MINE, t_point.c.replica == 0), 1), else_=0)

_COUNT = (
    update(t_study)
    .where(t_study.c.study_id == bindparam("study"))
    .values(
        visited=t_study.c.visited + _is_visit,
        complete=t_study.c.complete + bindparam("is_complete"),
        failed=t_study.c.failed + bindparam("is_failed"),
        pruned=t_study.c.pruned + bindparam("is_pruned"),
        **breaker.COLUMNS,
    )
)

_COUNT_AND_JUDGE = _COUNT.values(ends.COLUMNS)

#: The state of the point whose trial ended so.
_VERDICTS = {
    EndState.COMPLETE: PointState.DONE,
    EndState.PRUNED: PointState.PRUNED,
    EndState.FAIL: PointState.FAILED,
}

_VISIT = {verdict: move_point(verdict, since=PointState.HELD).where(*_MINE) for verdict in _VERDICTS.values()}

#: A point that a trial gets for good, whoever has it.
_TAKE = {verdict: move_point(verdict) for verdict in _VERDICTS.values()}

_NOTE = (
    update(t_host)
    .where(t_host.c.name == bindparam("teller"), t_host.c.told >= bindparam("after"))
    .values(told=bindparam("record"))
)


def _end(announcer: Announcer, result: Result, receipt: Receipt | None) -> None:
    connection, study = announcer.connection, announcer.study
    ending, state = result.ending, result.ending.state
    fence = {
        "claim": result.claim_id,
        "study": result.study_id,
        "uid": trial_rows.stored_attribute(result.study_uid),
        "ended": TrialState[state],
        "now": trial_rows.utc_now(),
    }
    finished = statements.first(connection, _FINISH, fence)
    if finished is None:
        raise _Late
    _check_objectives(ending, finished.objectives)
    trial_id = finished.trial_id
    mine = {"study": result.study_id, "trial": trial_id}
    counted = {
        **mine,
        **_counted(state),
        **breaker.parameters(ending, result.host),
        **ends.judged(study, result, finished.number, tells_better=announcer.tells_better),
    }
    statements.run(
        connection,
        # Count before the verdict, because the verdict ends our hold on the point.
        statements.Statement(_COUNT_AND_JUDGE, counted),
        statements.Statement(_VISIT[_VERDICTS[state]], mine),
        trial_rows.values(trial_id, ending.values or ()),
        trial_rows.user_attributes(trial_id, ending.attributes),
        trial_facts.ended(result.study_id, trial_id, ending),
        _noted(result, receipt),
        _keep_reports(connection, trial_id, ending, finished.objectives),
        *outputs.kept(trial_id, result),
    )
    _keep_attributes(connection, trial_id, ending)
    announcer.tell(result, finished.number, is_better=counted["better"] == finished.number)


def _keep_reports(
    connection: Connection, trial_id: int, ending: Ending, objectives: int
) -> statements.Statement | None:
    """Sets the intermediate values, of which the database may have some since the trial ran.

    Few of them are returned as a statement, to be run with others.
    """
    reports = ending.kept_reports(objectives)
    is_thinned = len(reports) >= MOST_STEPS // 2
    if is_thinned or ending.retried or len(reports) < len(ending.intermediate):
        # It may have some of an earlier attempt, or of steps that were thinned out later.
        trial_rows.delete_intermediate(connection, trial_id)
    if len(reports) <= trial_rows.FEW:
        return trial_rows.intermediate(connection.dialect.name, trial_id, reports)
    trial_rows.put_intermediate(connection, {trial_id: reports})
    return None


def _keep_attributes(connection: Connection, trial_id: int, ending: Ending) -> None:
    trial_rows.put_system_attributes(connection, {trial_id: ending.system_attributes})
    trial_rows.set_user_attributes(connection, trial_id, ending.user_attrs)


def _check_objectives(ending: Ending, objectives: int) -> None:
    if ending.values is not None and len(ending.values) != objectives:
        raise ValueError(
            f"it has {counted(len(ending.values), 'value')}, and the study {counted(objectives, 'objective')}"
        )


def _counted(state: EndState | None) -> dict[str, Any]:
    """The columns of the study that count one more trial; without a state none."""
    return {
        "is_complete": int(state is EndState.COMPLETE),
        "is_failed": int(state is EndState.FAIL),
        "is_pruned": int(state is EndState.PRUNED),
    }


def _noted(result: Result, receipt: Receipt | None) -> statements.Statement | None:
    """Writes down how far this host has told its outbox."""
    if receipt is None:
        return None
    values = {"teller": result.host, "record": receipt.record, "after": receipt.after}
    return statements.Statement(_NOTE, values)


def _is_same_study(connection: Connection, result: Result) -> bool:
    kept = select(study_system_attributes.c.value_json).where(
        study_system_attributes.c.study_id == result.study_id,
        study_system_attributes.c.key == UID_ATTRIBUTE,
    )
    return connection.execute(kept).scalar() == trial_rows.stored_attribute(result.study_uid)


def _tell_late(database: Database, result: Result, receipt: Receipt | None) -> TellOutcome | None:
    """Keeps a result whose claim has no RUNNING trial; None if it has one after all."""
    with database.locking(studies, result.study_id) as connection:
        if not _is_same_study(connection, result):
            return TellOutcome.DROPPED
        own = connection.execute(
            select(trials.c.trial_id, trials.c.number, trials.c.state)
            .join(t_trial, t_trial.c.trial_id == trials.c.trial_id)
            .where(t_trial.c.claim_id == result.claim_id)
        ).first()
        if own is not None and own.state is TrialState.RUNNING:
            return None
        statements.run(connection, _noted(result, receipt))
        if own is not None:
            _let_go(connection, result, own)
        point = _point(connection, result)
        if not _is_wanted(result, own, point):
            return TellOutcome.KNOWN
        objectives = connection.execute(select(_objectives), {"study": result.study_id}).scalar_one()
        _check_objectives(result.ending, objectives)
        kept = ends.locked(connection, result.study_id)
        _write(
            Announcer(connection=connection, wishes=database.wishes, study=kept),
            result,
            own,
            point,
            objectives,
        )
    return TellOutcome.RENEWED if own is None else TellOutcome.LATE


def _let_go(connection: Connection, result: Result, own: Row[Any, Any, Any]) -> None:
    """Ends our hold on the point if another program ended our trial."""
    mine = {"study": result.study_id, "trial": own.trial_id}
    connection.execute(_COUNT, {**mine, **_counted(None), **breaker.parameters(None, result.host)})
    verdict = _VERDICTS[EndState(own.state.name)] if own.state.is_finished() else PointState.FAILED
    connection.execute(_VISIT[verdict], mine)


def _point(connection: Connection, result: Result) -> Row[Any] | None:
    """The point of a result, and the state of the trial that has it; that is None if it was deleted."""
    return connection.execute(
        select(t_point, trials.c.state.label("trial_state"))
        .join(trials, trials.c.trial_id == t_point.c.trial_id, isouter=True)
        .where(t_point.c.study_id == result.study_id, t_point.c.key == result.key, t_point.c.replica == 0)
    ).first()


def _is_wanted(result: Result, own: Row[Any, Any, Any] | None, point: Row[Any] | None) -> bool:
    """A value is wanted by each point that has none, any other end only by a point that nobody cares for."""
    if result.ending.state is not EndState.COMPLETE:
        return own is None and (point is None or point.state == PointState.FREE)
    is_complete = own is not None and own.state is TrialState.COMPLETE
    return not is_complete and (point is None or point.state != PointState.DONE)


def _write(
    announcer: Announcer,
    result: Result,
    own: Row[Any, Any, Any] | None,
    point: Row[Any] | None,
    objectives: int,
) -> None:
    """Writes a trial that has ended: that of the claim itself if the database has forgotten it."""
    ending, beginning = result.ending, result.beginning
    connection = announcer.connection
    given = _charge_ended(connection, result, point, evaluations=ending.evaluations if own is None else 1)
    judged = ends.judge(
        connection, announcer.study, result, given.number, tells_better=announcer.tells_better
    )
    announcer.tell(result, given.number, is_better=judged["better"] == given.number)
    if point is not None and point.state == PointState.HELD and point.trial_state is TrialState.RUNNING:
        # Another host evaluates it again meanwhile, and keeps its claim as a repetition.
        _make_repetition(connection, result)
    _give_point(connection, result, given.trial_id)
    attributes = {"HOST": {"host": result.host}, **ending.attributes}
    if own is not None:
        attributes["LATE_OF"] = own.number
    is_renewed = own is None
    statements.run(
        connection,
        trial_rows.trial(
            result.study_id, given.trial_id, given.number, TrialState[ending.state],
            started=beginning.started,
        ),
        trial_rows.params(given.trial_id, beginning.params),
        trial_rows.values(given.trial_id, ending.values or ()),
        trial_rows.user_attributes(given.trial_id, attributes),
        trial_rows.system_attributes(
            given.trial_id, trial_rows.restored_attributes(beginning.attributes) if is_renewed else {}
        ),
        trial_facts.written(
            given.trial_id,
            TrialKind.EVALUATED if is_renewed else TrialKind.LATE,
            origin=beginning.origin if is_renewed else Origin.LATE,
            host=result.host,
            claim_id=result.claim_id if is_renewed else None,
            twin_id=None if own is None else own.trial_id,
            cause=None if ending.failure is None else ending.failure.cause,
            attempts=ending.attempts,
            waited_seconds=trial_facts.waited_seconds(ending),
        ),
    )  # fmt: skip
    statements.run(connection, _keep_reports(connection, given.trial_id, ending, objectives))
    statements.run(connection, *outputs.kept(given.trial_id, result))
    _keep_attributes(connection, given.trial_id, ending)


def _charge_ended(
    connection: Connection, result: Result, point: Row[Any] | None, *, evaluations: int
) -> Row[Any]:
    """Charges what was refunded or forgotten, but never beyond the budget. Returns ``NEXT_TRIAL``."""
    newly_visited = 0 if point is not None and PointState(point.state).is_visited else 1
    study = t_study.c
    count = bindparam("evaluations", type_=Integer)
    is_within = or_(study.evaluations_limit.is_(None), study.evaluations + count <= study.evaluations_limit)
    is_beyond = study.evaluations >= study.evaluations_limit
    return connection.execute(
        update(t_study)
        .where(study.study_id == bindparam("study"))
        .values(
            visited=study.visited + newly_visited,
            complete=study.complete + bindparam("is_complete"),
            failed=study.failed + bindparam("is_failed"),
            pruned=study.pruned + bindparam("is_pruned"),
            trials=case((is_below(study.trials, study.trials_limit), study.trials + 1), else_=study.trials),
            evaluations=case(
                (is_within, study.evaluations + count),
                (is_beyond, study.evaluations),
                else_=study.evaluations_limit,
            ),
        )
        .returning(*trial_rows.NEXT_TRIAL),
        {
            "study": result.study_id,
            "evaluations": evaluations,
            **_counted(result.ending.state),
        },
    ).one()


def _give_point(connection: Connection, result: Result, trial_id: int) -> None:
    """Gives the point to this trial, which no host holds."""
    ended = {"trial_id": trial_id, "incarnation": ""}
    place = {"study_id": result.study_id, "key": result.key, "replica": 0}
    here = [t_point.c[name] == value for name, value in place.items()]
    verdict = _VERDICTS[result.ending.state]
    if affected(connection.execute(_TAKE[verdict].where(*here).values(**ended))) == 0:
        connection.execute(insert(t_point).values(**place, **ended, state=verdict))


def _make_repetition(connection: Connection, result: Result) -> None:
    of_point = (t_point.c.study_id == result.study_id) & (t_point.c.key == result.key)
    last = connection.execute(select(func.max(t_point.c.replica)).where(of_point)).scalar_one()
    connection.execute(update(t_point).where(of_point, t_point.c.replica == 0).values(replica=last + 1))
