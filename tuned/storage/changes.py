"""Changes that a person makes to an existing study: frees its failed points, or replaces its budget.

Each change is one transaction under the study's lock, so that no claim or tell comes in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, exists, select, update

from tuned.domain.states import PointState, StudyState
from tuned.errors import Conflict
from tuned.experiment.differences import differ_in_budget_only, differences
from tuned.experiment.experiment import Experiment
from tuned.storage.budget import WITHIN_BUDGET
from tuned.storage.database import Database
from tuned.storage.tables.functions import affected, is_below
from tuned.storage.tables.schema import studies, t_point, t_study, t_trial
from tuned.storage.tables.transitions import move_point, move_study

if TYPE_CHECKING:
    from tuned.domain.ending import Cause


def free_failed(database: Database, study_id: int, cause: Cause | None) -> int:
    """Frees the failed points of a study, or only those with this cause, and returns how many.

    Hosts evaluate them before they draw new points. Opens a done study again if a trial may start in it.
    Raises NotFound if the study is gone, Conflict if it is cancelled.
    """
    with database.locking(studies, study_id) as connection:
        if _locked_state(connection, study_id) is StudyState.CANCELLED:
            raise Conflict("cannot retry in a cancelled experiment: submit its file again first")
        # Nobody has to evaluate a deliberate repetition again, so it stays as it is.
        failed = (t_point.c.study_id == study_id) & (t_point.c.replica == 0)
        if cause is not None:
            failed &= exists().where(t_trial.c.trial_id == t_point.c.trial_id, t_trial.c.cause == cause)
        free = move_point(PointState.FREE, since=PointState.FAILED).where(failed).values(losses=0)
        freed = affected(connection.execute(free))
        study = t_study.c
        connection.execute(
            update(t_study).where(study.study_id == study_id).values(visited=study.visited - freed)
        )
        _open_again(connection, study_id)
        return freed


def change_budget(database: Database, study_id: int, experiment: Experiment) -> None:
    """Gives a study the budget of an experiment whose definition is otherwise the same.

    Opens a done study again if a trial may start now. Raises NotFound if the study is gone, Conflict with all
    other differences.
    """
    with database.locking(studies, study_id) as connection:
        _locked_state(connection, study_id)
        mine = t_study.c.study_id == study_id
        theirs = connection.execute(select(t_study.c.definition).where(mine)).scalar_one()
        definition, budget = experiment.definition(), experiment.budget
        found = differences(definition, theirs)
        if other := [each for each in found if not differ_in_budget_only([each])]:
            raise Conflict(
                f"cannot change study {experiment.name}: only its budget can be changed; this differs too: "
                + "; ".join(other)
            )
        connection.execute(
            update(t_study)
            .where(mine)
            .values(
                definition=definition,
                trials_limit=budget.trials,
                evaluations_limit=budget.evaluations,
                seconds_limit=budget.time,
            )
        )
        _open_again(connection, study_id)


def _locked_state(connection: Connection, study_id: int) -> StudyState:
    """Also locks our row of the study."""
    mine = select(t_study.c.state).where(t_study.c.study_id == study_id)
    return StudyState(connection.execute(mine.with_for_update(key_share=True)).scalar_one())


def _open_again(connection: Connection, study_id: int) -> None:
    """Opens a done study if a trial may start in it."""
    may_start = (WITHIN_BUDGET, is_below(t_study.c.visited, t_study.c.size))
    connection.execute(
        move_study(StudyState.OPEN, since=StudyState.DONE).where(t_study.c.study_id == study_id, *may_start)
    )
