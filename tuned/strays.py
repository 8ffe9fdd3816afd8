"""Trials of ours that are RUNNING and that nobody holds: no claim and no tell leaves such a thing.

Someone's hand in the database does, or a fault. They block nobody, but they never end. Trials of other
programs are not looked at: they have no origin of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import Connection, case, exists, select, update

from tuned import rows
from tuned.errors import NotFound
from tuned.schema import studies, t_point, t_study, trial_system_attributes, trials
from tuned.states import Cause, Failure, PointState

if TYPE_CHECKING:
    from tuned.database import Database


def strays(database: Database) -> dict[str, list[int]]:
    """Their numbers, by experiment."""
    with database.reading() as connection:
        found = connection.execute(
            select(studies.c.study_name, trials.c.number)
            .join(studies, studies.c.study_id == trials.c.study_id)
            .where(_is_stray())
            .order_by(trials.c.trial_id)
        ).all()
    by_name: dict[str, list[int]] = {}
    for row in found:
        by_name.setdefault(row.study_name, []).append(row.number)
    return by_name


def settle_strays(database: Database, name: str) -> list[int]:
    """Ends those of an experiment as ``lost`` and refunds them; returns their numbers."""
    with database.reading() as connection:
        study_id = connection.execute(select(studies.c.study_id).where(studies.c.study_name == name)).scalar()
    if study_id is None:
        return []
    try:
        with database.locking(studies, study_id) as connection:
            return _settle(connection, study_id)
    except NotFound:
        return []


def _settle(connection: Connection, study_id: int) -> list[int]:
    failure = Failure(cause=Cause.LOST, message="no host held it any more")
    mine = t_study.c.study_id == study_id
    connection.execute(select(t_study.c.study_id).where(mine).with_for_update(key_share=True))
    found = connection.execute(
        select(trials.c.trial_id, trials.c.number).where(_is_stray(), trials.c.study_id == study_id)
    ).all()
    ended = set(rows.finish_trials(connection, [row.trial_id for row in found], TrialState.FAIL))
    for trial_id in ended:
        rows.run(connection, rows.user_attributes(trial_id, {"FAILURE": failure.attribute()}))
    charged = (t_study.c.trials, t_study.c.evaluations)
    connection.execute(
        update(t_study)
        .where(mine)
        .values({each: case((each > len(ended), each - len(ended)), else_=0) for each in charged})
    )
    return [row.number for row in found if row.trial_id in ended]


def _is_stray() -> Any:
    origin = trial_system_attributes
    is_ours = exists().where(origin.c.trial_id == trials.c.trial_id, origin.c.key == rows.ORIGIN_ATTRIBUTE)
    is_held = exists().where(t_point.c.trial_id == trials.c.trial_id, t_point.c.state == PointState.HELD)
    is_known = exists().where(t_study.c.study_id == trials.c.study_id)
    return (trials.c.state == TrialState.RUNNING) & is_known & is_ours & ~is_held
