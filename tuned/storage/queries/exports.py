"""The trials of a study as rows of a table, for people who take them elsewhere.

It only reads. Any study of the database can be exported, those of other programs too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from tuned.errors import NotFound
from tuned.storage.database import Database
from tuned.storage.queries import trials as trials_module
from tuned.storage.queries.experiments import directions_of
from tuned.storage.queries.readable import readable
from tuned.storage.tables.schema import studies, trial_user_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.protocol.tables import ExportedTrial, ExportView
    from tuned.protocol.trials import TrialView


def export(database: Database, name: str, *, after: int, limit: int) -> ExportView:
    """The oldest ``limit`` trials whose number is above ``after``. Raises NotFound, Conflict."""
    with readable(), database.reading() as connection:
        study_id = connection.execute(select(studies.c.study_id).where(studies.c.study_name == name)).scalar()
        if study_id is None:
            raise NotFound(f"cannot export {name}: the database has no study of this name")
        found = trials_module.after(connection, study_id, after=after, limit=limit)
        attributes = _attributes(connection, list(found))
        directions = directions_of(connection, [study_id])[study_id]
    rows = [_row(view, attributes.get(trial_id, {})) for trial_id, view in found.items()]
    return {
        "directions": ["maximize" if each.name == "MAXIMIZE" else "minimize" for each in directions],
        "trials": rows,
        "after": rows[-1]["number"] if len(rows) == limit else None,
    }


def _row(view: TrialView, attributes: Mapping[str, str]) -> ExportedTrial:
    return {
        "number": view["number"],
        "state": view["state"],
        "values": view["values"],
        "started": view["started"],
        "ended": view["ended"],
        "params": view["params"],
        "constraints": view["constraints"],
        "user_attrs": dict(attributes),
    }


def _attributes(connection: Connection, trial_ids: list[int]) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    of = trial_user_attributes.c
    rows = connection.execute(select(of.trial_id, of.key, of.value_json).where(of.trial_id.in_(trial_ids)))
    for row in rows:
        found.setdefault(row.trial_id, {})[str(row.key)] = str(row.value_json)
    return found
