"""The rungs that trials have reached, as Optuna's pruners keep them: a system attribute for each.

It owns how they are found and written. It must never decide anything.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from optuna.trial import TrialState
from sqlalchemy import select

from tuned.storage.tables.schema import trial_system_attributes, trials
from tuned.storage.trials.trial_rows import restored_attribute

if TYPE_CHECKING:
    from tuned.storage.database import Database

#: How Optuna names them; their number follows.
PREFIX = "completed_rung_"


def running_rungs(database: Database, study_id: int) -> dict[int, dict[str, float]]:
    """The rungs of the study's RUNNING trials on all hosts, by the trials' ids. Raises DatabaseAway."""
    attributes = trial_system_attributes.c
    query = (
        select(attributes.trial_id, attributes.key, attributes.value_json)
        .join(trials, trials.c.trial_id == attributes.trial_id)
        .where(trials.c.study_id == study_id, trials.c.state == TrialState.RUNNING)
        .where(attributes.key.startswith(PREFIX, autoescape=True))
    )
    found: dict[int, dict[str, float]] = defaultdict(dict)
    with database.reading() as connection:
        for row in connection.execute(query):
            try:
                found[row.trial_id][row.key] = float(restored_attribute(row.value_json))
            except (TypeError, ValueError):
                # A person may have changed it: the trial then has not reached that rung.
                continue
    return found
