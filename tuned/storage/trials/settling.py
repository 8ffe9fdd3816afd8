"""SETTLE: ends RUNNING trials of ours that will not be told, frees their points and refunds them.

Their host died, stopped or could not begin them, or no host holds them. No claim and no tell leaves an unheld
trial, but a person who edits the database may, or a fault. This module must never end a trial of another
program.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import Connection, Row, case, exists, select, update

from tuned.domain.ending import Cause, Failure
from tuned.domain.states import PointState
from tuned.errors import NotFound
from tuned.storage.tables import statements
from tuned.storage.tables.schema import studies, t_host, t_point, t_study, t_trial, trials
from tuned.storage.tables.transitions import move_point
from tuned.storage.trials import astray, trial_facts, trial_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tuned.storage.database import Database

#: How many evaluations of each trial have ended, if nobody knows.
NONE_ENDED: Mapping[str, int] = MappingProxyType({})

#: A point that was lost so often fails, because it may be the cause of the hosts' deaths.
MOST_LOSSES = 3


def unheld_trials(database: Database) -> dict[str, list[int]]:
    """The numbers of RUNNING trials of ours that no host holds, by experiment."""
    with database.reading() as connection:
        found = connection.execute(
            select(studies.c.study_name, trials.c.number)
            .join(studies, studies.c.study_id == trials.c.study_id)
            .where(_is_unheld())
            .order_by(trials.c.trial_id)
        ).all()
    by_name: dict[str, list[int]] = {}
    for row in found:
        by_name.setdefault(row.study_name, []).append(row.number)
    return by_name


def settle_unheld(database: Database, name: str) -> list[int]:
    """Ends the unheld trials of an experiment as ``lost``, refunds them and returns their numbers."""
    with database.reading() as connection:
        study_id = connection.execute(select(studies.c.study_id).where(studies.c.study_name == name)).scalar()
    if study_id is None:
        return []
    try:
        with database.locking(studies, study_id) as connection:
            return _end_unheld(connection, study_id)
    except NotFound:
        return []


def _end_unheld(connection: Connection, study_id: int) -> list[int]:
    failure = Failure(cause=Cause.LOST, message="no host held it any more")
    mine = t_study.c.study_id == study_id
    connection.execute(select(t_study.c.study_id).where(mine).with_for_update(key_share=True))
    found = connection.execute(
        select(trials.c.trial_id, trials.c.number).where(_is_unheld(), trials.c.study_id == study_id)
    ).all()
    ended = set(trial_rows.finish_trials(connection, [row.trial_id for row in found], TrialState.FAIL))
    for trial_id in ended:
        _write_failure(connection, trial_id, failure)
    charged = (t_study.c.trials, t_study.c.evaluations)
    connection.execute(
        update(t_study)
        .where(mine)
        .values({each: case((each > len(ended), each - len(ended)), else_=0) for each in charged})
        .values(failed=t_study.c.failed + len(ended))
    )
    return [row.number for row in found if row.trial_id in ended]


def _write_failure(connection: Connection, trial_id: int, failure: Failure) -> None:
    statements.run(
        connection,
        trial_rows.user_attributes(trial_id, {"FAILURE": failure.attribute()}),
        trial_facts.interrupted(trial_id, failure.cause),
    )


def _is_unheld() -> Any:
    is_ours = exists().where(t_trial.c.trial_id == trials.c.trial_id)
    is_held = exists().where(t_point.c.trial_id == trials.c.trial_id, t_point.c.state == PointState.HELD)
    is_known = exists().where(t_study.c.study_id == trials.c.study_id)
    return (trials.c.state == TrialState.RUNNING) & is_known & is_ours & ~is_held


def _refund(count: int, evaluations: int) -> dict[str, Any]:
    return {"trials": t_study.c.trials - count, "evaluations": t_study.c.evaluations - evaluations}


def _unended(held: Row[Any], ended: Mapping[str, int]) -> int:
    """How many of the evaluations that a trial was charged with did not end by themselves.

    Nobody but its host knows whether the last one did.
    """
    return 1 if held.claim_id not in ended else max(held.evaluations - ended[held.claim_id], 0)


def orphaned_studies(database: Database) -> list[int]:
    """The studies in which dead hosts hold points."""
    with database.reading() as connection:
        found = connection.execute(select(t_point.c.study_id).distinct().where(_is_orphan()))
        return list(found.scalars())


def name_of(database: Database, study_id: int) -> str:
    """The experiment of a study; empty if the study is gone."""
    with database.reading() as connection:
        named = select(studies.c.study_name).where(studies.c.study_id == study_id)
        return connection.execute(named).scalar() or ""


def settle_orphans(database: Database, study_id: int) -> list[int]:
    """Ends the trials that dead hosts left RUNNING in a study as ``lost``, and returns their numbers."""
    failure = Failure(cause=Cause.LOST, message="the host that ran it died or was cut off")
    return _settle(database, study_id, failure, _is_orphan())


def settle_own(
    database: Database,
    study_id: int,
    incarnation: str,
    *,
    but_not: Collection[str],
    ended: Mapping[str, int] = NONE_ENDED,
) -> list[int]:
    """Ends the trials that we hold in a study as ``aborted``, except those of these claims.

    ``ended`` has how many evaluations of a claim's trial ended by themselves. Returns the trials' numbers.
    """
    failure = Failure(cause=Cause.ABORTED, message="stopped before it ended")
    of_others = t_trial.c.claim_id.is_(None) | t_trial.c.claim_id.not_in(but_not)
    return _settle(database, study_id, failure, (t_point.c.incarnation == incarnation) & of_others, ended)


def settle_claims(
    database: Database, study_id: int, incarnation: str, claim_ids: Collection[str]
) -> list[int]:
    """Ends trials that the database calls ours and that we do not run, and returns their numbers.

    Their results were told, and a database that lost its last transactions has forgotten them.
    """
    failure = Failure(cause=Cause.ABORTED, message="its host does not run it any more")
    ours = (t_point.c.incarnation == incarnation) & t_trial.c.claim_id.in_(claim_ids)
    return _settle(database, study_id, failure, ours)


def give_back(database: Database, study_id: int, claim_id: str, failure: Failure) -> None:
    """Ends a claim's trial that this host could not begin, or has lost, and frees its point."""
    _settle(database, study_id, failure, t_trial.c.claim_id == claim_id)


def _is_orphan() -> Any:
    living = select(t_host.c.incarnation).where(t_host.c.dead.is_(False))
    return (t_point.c.state == PointState.HELD) & t_point.c.incarnation.not_in(living)


def _settle(
    database: Database,
    study_id: int,
    failure: Failure,
    whose: Any,
    ended: Mapping[str, int] = NONE_ENDED,
) -> list[int]:
    try:
        with database.locking(studies, study_id) as connection:
            return _settle_held(connection, study_id, failure, whose, ended)
    except NotFound:
        return []


def _settle_held(
    connection: Connection, study_id: int, failure: Failure, whose: Any, ended: Mapping[str, int]
) -> list[int]:
    # The lock on our study's row puts this before or behind a tell, which holds it too.
    connection.execute(
        select(t_study.c.study_id).where(t_study.c.study_id == study_id).with_for_update(key_share=True)
    )
    held = connection.execute(
        select(
            t_point,
            trials.c.number,
            trials.c.state.label("trial_state"),
            t_trial.c.claim_id,
            t_trial.c.evaluations,
        )
        .join(trials, trials.c.trial_id == t_point.c.trial_id, isouter=True)
        .join(t_trial, t_trial.c.trial_id == t_point.c.trial_id, isouter=True)
        .where(t_point.c.study_id == study_id, t_point.c.state == PointState.HELD, whose)
    ).all()
    if not held:
        return []
    for row in held:
        if row.trial_state is not TrialState.RUNNING:
            _let_go(connection, row)
    finished = set(trial_rows.finish_trials(connection, [row.trial_id for row in held], TrialState.FAIL))
    settled = [row for row in held if row.trial_id in finished]
    if not settled:
        return []
    lost = failure.cause is Cause.LOST
    given_up = [row for row in settled if lost and row.losses + 1 >= MOST_LOSSES and row.replica == 0]
    ids = [row.trial_id for row in settled]
    _release(connection, study_id, ids, [row.trial_id for row in given_up], losses=int(lost))
    connection.execute(
        update(t_study)
        .where(t_study.c.study_id == study_id)
        .values(
            **_refund(len(settled), sum(_unended(row, ended) for row in settled)),
            failed=t_study.c.failed + len(settled),
            visited=t_study.c.visited + len(given_up),
        )
    )
    for trial_id in ids:
        _write_failure(connection, trial_id, failure)
    return [row.number for row in settled]


def _let_go(connection: Connection, held: Row[Any]) -> None:
    """Ends the hold on a point whose trial another program has ended, or a person has deleted.

    The budget is not refunded, because the trial was counted or is gone.
    """
    of_study = t_study.c.study_id == held.study_id
    of_point = (t_point.c.study_id == held.study_id) & (t_point.c.key == held.key)
    of_point &= t_point.c.replica == held.replica
    if held.trial_state is None or held.replica > 0:
        astray.forget(connection, held.study_id, of_point)
    elif held.trial_state is TrialState.COMPLETE:
        connection.execute(update(t_study).where(of_study).values(visited=t_study.c.visited + 1))
        connection.execute(move_point(PointState.DONE, since=PointState.HELD).where(of_point))
    else:
        connection.execute(move_point(PointState.FREE, since=PointState.HELD).where(of_point))


def _release(
    connection: Connection, study_id: int, trial_ids: list[int], given_up: list[int], losses: int
) -> None:
    theirs = (t_point.c.study_id == study_id) & t_point.c.trial_id.in_(trial_ids)
    # Nobody has to evaluate a deliberate repetition again, so its row is deleted.
    connection.execute(t_point.delete().where(theirs, t_point.c.replica > 0))
    counted = {"losses": t_point.c.losses + losses}
    if given_up:
        fail = move_point(PointState.FAILED, since=PointState.HELD).values(counted)
        connection.execute(fail.where(theirs, t_point.c.trial_id.in_(given_up)))
    # The points that just failed are no longer held, so this frees the others.
    connection.execute(move_point(PointState.FREE, since=PointState.HELD).values(counted).where(theirs))
