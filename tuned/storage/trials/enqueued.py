"""Trials that plain Optuna enqueued in a study: WAITING, with some or all parameters fixed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from optuna.trial import TrialState
from sqlalchemy import select, update

from tuned.domain.claim import Origin, TrialKind
from tuned.domain.ending import Cause, Failure
from tuned.errors import NotFound
from tuned.storage.tables import statements
from tuned.storage.tables.schema import t_study, trial_system_attributes, trials
from tuned.storage.trials import trial_facts, trial_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.domain.space import Value
    from tuned.storage.database import Database

#: Optuna's attribute for the parameters of an enqueued trial.
FIXED_PARAMS = "fixed_params"


class Misfit(ValueError):
    """The enqueued parameters are no point of the space, and no part of one."""


def fixed_params(database: Database, trial_id: int) -> Mapping[str, Value]:
    """The parameters that the enqueuing program gave the trial. Raises Misfit if they are none."""
    with database.reading() as connection:
        found = connection.execute(
            select(trial_system_attributes.c.value_json).where(
                trial_system_attributes.c.trial_id == trial_id,
                trial_system_attributes.c.key == FIXED_PARAMS,
            )
        ).scalar()
    try:
        fixed = trial_rows.restored_attribute(found) if found else {}
    except (ValueError, RecursionError) as error:
        raise Misfit(f"{FIXED_PARAMS}: {error}") from None
    if not isinstance(fixed, dict):
        raise Misfit(f"{FIXED_PARAMS} is {fixed!r}, not a table of parameters")
    return fixed


def fail_waiting(database: Database, trial_id: int, reason: str) -> None:
    """Ends an enqueued trial that cannot be evaluated, so that no host takes it again."""
    failure = Failure(cause=Cause.NO_VALUE, message=f"cannot evaluate the enqueued parameters: {reason}")
    with database.reading() as connection:
        of_trial = select(trials.c.study_id).where(trials.c.trial_id == trial_id)
        study_id = connection.execute(of_trial).scalar()
    if study_id is None:
        return
    with contextlib.suppress(NotFound), database.locking(t_study, study_id) as connection:
        if trial_rows.start_waiting(connection, trial_id, TrialState.FAIL) is None:
            return
        connection.execute(
            update(t_study).where(t_study.c.study_id == study_id).values(failed=t_study.c.failed + 1)
        )
        statements.run(
            connection,
            trial_rows.user_attributes(trial_id, {"FAILURE": failure.attribute()}),
            trial_facts.written(
                trial_id, TrialKind.REFUSED, origin=Origin.ENQUEUED, host=None, cause=failure.cause
            ),
        )
