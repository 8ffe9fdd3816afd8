"""The trials of a study as rows of a table, for people who take them elsewhere.

It only reads. Any study of the database can be exported, those of other programs too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select

from tuned.errors import NotFound
from tuned.storage.database import Database
from tuned.storage.queries import trials as trials_module
from tuned.storage.queries.experiments import direction_names, directions_of
from tuned.storage.queries.readable import readable
from tuned.storage.tables.schema import studies, trial_params, trial_user_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.protocol.tables import DistributionView, ExportedTrial, ExportView
    from tuned.protocol.trials import TrialView


def export(database: Database, name: str, *, after: int, limit: int, has_reports: bool = False) -> ExportView:
    """The oldest ``limit`` trials whose number is above ``after``. Raises NotFound, Conflict.

    Their intermediate values are only there if ``has_reports``.
    """
    with readable(), database.reading() as connection:
        study_id = connection.execute(select(studies.c.study_id).where(studies.c.study_name == name)).scalar()
        if study_id is None:
            raise NotFound(f"cannot export {name}: the database has no study of this name")
        found = trials_module.after(connection, study_id, after=after, limit=limit)
        ids = list(found)
        attributes = trials_module.grouped(connection, select(trial_user_attributes), ids)
        reports = trials_module.some_reports(connection, ids) if has_reports else None
        distributions = _distributions(connection, ids)
        directions = directions_of(connection, [study_id])[study_id]
    rows = [_row(view, attributes[trial_id]) for trial_id, view in found.items()]
    if reports is not None:
        for trial_id, row in zip(ids, rows, strict=True):
            row["reports"] = [trials_module.report(each) for each in reports[trial_id]]
    return {
        "directions": direction_names(directions),
        "distributions": distributions,
        "trials": rows,
        "after": rows[-1]["number"] if len(rows) == limit else None,
    }


def _row(view: TrialView, attributes: Sequence[Row[Any]]) -> ExportedTrial:
    return {
        "number": view["number"],
        "state": view["state"],
        "values": view["values"],
        "started": view["started"],
        "ended": view["ended"],
        "params": view["params"],
        "constraints": view["constraints"],
        "user_attrs": {str(row.key): str(row.value_json) for row in attributes},
    }


def _distributions(connection: Connection, trial_ids: Sequence[int]) -> list[DistributionView]:
    kept = trial_params.c
    query = select(kept.param_name, kept.distribution_json).where(kept.trial_id.in_(trial_ids)).distinct()
    found = connection.execute(query.order_by(kept.param_name, kept.distribution_json)).all()
    return [{"name": str(row.param_name), "distribution": str(row.distribution_json)} for row in found]
