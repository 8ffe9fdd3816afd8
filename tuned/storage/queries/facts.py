"""How a study stands, for an objective that asks: its user attributes and its best trials.

It only reads, in a few statements, and only when a trial asks.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from tuned.storage.queries import trials as trials_module
from tuned.storage.queries.best import best_ids
from tuned.storage.queries.experiments import directions_of
from tuned.storage.tables.schema import study_user_attributes, trial_user_attributes, trials
from tuned.storage.trials.trial_rows import restored_attribute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.storage.database import Database
    from tuned.worker.channel import StudyFacts


def study_facts(database: Database, study_id: int) -> StudyFacts:
    with database.reading() as connection:
        found = connection.execute(
            select(study_user_attributes.c.key, study_user_attributes.c.value_json).where(
                study_user_attributes.c.study_id == study_id
            )
        )
        user_attrs = {row.key: restored_attribute(row.value_json) for row in found}
        ids = best_ids(connection, directions_of(connection, [study_id])).get(study_id, [])
        views = trials_module.by_id(connection, ids)
        attributes = _user_attributes(connection, ids)
    return {
        "user_attrs": user_attrs,
        "best": [
            {
                "number": view["number"],
                "values": view["values"] or [],
                "params": view["params"],
                "user_attrs": attributes[view["number"]],
                "constraints": view["constraints"],
            }
            for view in views
        ],
    }


def _user_attributes(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Those of these trials, by number."""
    attributes: dict[int, dict[str, Any]] = defaultdict(dict)
    own = trial_user_attributes
    query = select(trials.c.number, own.c.key, own.c.value_json).join(
        trials, trials.c.trial_id == own.c.trial_id
    )
    for start in range(0, len(ids), trials_module.BATCH):
        batch = own.c.trial_id.in_(ids[start : start + trials_module.BATCH])
        for row in connection.execute(query.where(batch)):
            attributes[row.number][row.key] = restored_attribute(row.value_json)
    return attributes
