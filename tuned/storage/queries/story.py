"""The story of one trial: where its point came from, what was tried, and what became of the point since.

Only reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, case, select

from tuned.experiment.experiment import defined
from tuned.storage import trial_rows
from tuned.storage.encoding import Encoding
from tuned.storage.queries import trials as trials_module
from tuned.storage.schema import t_point, t_study, trial_system_attributes, trial_user_attributes, trials

if TYPE_CHECKING:
    from tuned.protocol import FailureView, PointView, StoryView


def story(connection: Connection, study_id: int, name: str, number: int) -> StoryView | None:
    """None if the study has no trial of this number."""
    trial = trials_module.one(connection, study_id, number)
    if trial is None:
        return None
    trial_id = trials_module.id_of(connection, study_id, number)
    definition = connection.execute(
        select(t_study.c.definition).where(t_study.c.study_id == study_id)
    ).scalar_one()
    attributes = _attributes(connection, trial_id)
    return {
        "trial": trial,
        "origin": _system_attribute(connection, trial_id, trial_rows.ORIGIN_ATTRIBUTE),
        "sampler": str(json.loads(definition)["sampler"]["name"]),
        "retried": _failures(attributes.get("RETRIED")),
        "late_of": _number(attributes.get("LATE_OF")),
        "point": _point(connection, study_id, trial_id, Encoding(defined(definition, name).space)),
    }


def _attributes(connection: Connection, trial_id: int) -> Mapping[str, Any]:
    kept = trial_user_attributes
    wanted = select(kept).where(kept.c.trial_id == trial_id, kept.c.key.in_(["RETRIED", "LATE_OF"]))
    return {row.key: json.loads(row.value_json) for row in connection.execute(wanted)}


def _system_attribute(connection: Connection, trial_id: int, key: str) -> str | None:
    kept = trial_system_attributes
    found = connection.execute(
        select(kept.c.value_json).where(kept.c.trial_id == trial_id, kept.c.key == key)
    ).scalar()
    return None if found is None else str(json.loads(found))


def _point(connection: Connection, study_id: int, trial_id: int, encoding: Encoding) -> PointView | None:
    """What is known of the trial's point now; None if its parameters are not a point of the space."""
    try:
        key = encoding.point_of_rows(trial_rows.read_params(connection, trial_id)).key
    except (KeyError, ValueError):
        return None
    # Its own claim before all others: a repetition on purpose has one beside the point's.
    is_own = case((t_point.c.trial_id == trial_id, 0), else_=1)
    row = connection.execute(
        select(t_point.c.state, t_point.c.losses, t_point.c.trial_id, trials.c.number)
        .join(trials, trials.c.trial_id == t_point.c.trial_id, isouter=True)
        .where(t_point.c.study_id == study_id, t_point.c.key == key)
        .order_by(is_own, t_point.c.replica)
        .limit(1)
    ).first()
    if row is None:
        return {"state": "free", "trial": None, "host": None, "late_of": None, "losses": 0}
    host = trial_rows.read_user_attribute(connection, row.trial_id, "HOST")
    return {
        "state": row.state,
        "trial": row.number,
        "host": host.get("host") if isinstance(host, dict) else None,
        "late_of": _number(trial_rows.read_user_attribute(connection, row.trial_id, "LATE_OF")),
        "losses": row.losses,
    }


def _failures(retried: Any) -> list[FailureView]:
    """Plain Optuna may have something else by the same name."""
    known = retried if isinstance(retried, list) else []
    return [
        {"cause": str(each["cause"]), "message": str(each.get("message", ""))}
        for each in known
        if isinstance(each, dict) and "cause" in each
    ]


def _number(attribute: Any) -> int | None:
    return attribute if isinstance(attribute, int) else None
