"""The story of one trial: the origin of its point, its attempts, and the state of the point now.

This module only reads. Callers open the connection.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

from sqlalchemy import Connection, case, func, select

from tuned.domain.claim import TrialKind
from tuned.domain.states import PointState
from tuned.experiment.experiment import defined
from tuned.storage import snapshots
from tuned.storage.encoding import Encoding
from tuned.storage.queries import revisions
from tuned.storage.queries import trials as trials_module
from tuned.storage.tables.schema import t_point, t_study, t_trial, trials
from tuned.storage.trials import trial_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.protocol.trials import FailureView, PointView, ReplicatesView, ReportView, StoryView

_twin = t_trial.alias("twin")


def story(connection: Connection, study_id: int, name: str, number: int) -> StoryView | None:
    """None if the study has no trial of this number."""
    trial = trials_module.one(connection, study_id, number)
    if trial is None:
        return None
    trial_id = trials_module.id_of(connection, study_id, number)
    definition, revision_now = connection.execute(
        select(t_study.c.definition, t_study.c.revision).where(t_study.c.study_id == study_id)
    ).one()
    facts = _facts(connection, trial_id)
    # SQLite keeps any value in any column, and only a number may be told.
    revision = None if facts is None or facts.revision is None else int(facts.revision)
    return {
        "trial": trial,
        "origin": None if facts is None else str(facts.origin),
        "sampler": str(json.loads(definition)["sampler"]["name"]),
        "revision": revision,
        "revision_now": int(revision_now),
        "code": snapshots.of_revision(connection, study_id, revision),
        "replacement": revisions.revision(connection, study_id, revision),
        "retried": _failures(trial_rows.read_user_attribute(connection, trial_id, "RETRIED")),
        "replicates": _replicates(connection, trial_id, json.loads(definition)["replicates"]),
        "late_of": _late_of(facts),
        "adoptions": 0 if facts is None else int(facts.adoptions),
        **_reports(connection, trial_id),
        "point": _point(connection, study_id, trial_id, Encoding(defined(definition, name).space)),
        "output": None,
    }


def _facts(connection: Connection, trial_id: int) -> Any:
    """The trial's row in ``t_trial``; None if another program made the trial."""
    return connection.execute(
        select(t_trial.c.kind, t_trial.c.origin, t_trial.c.host, trials.c.number.label("twin_number"))
        .add_columns(t_trial.c.adoptions)
        # A late value is of the revision of the trial that it came too late for.
        .add_columns(func.coalesce(t_trial.c.revision, _twin.c.revision).label("revision"))
        .join(trials, trials.c.trial_id == t_trial.c.twin_id, isouter=True)
        .join(
            _twin, (_twin.c.trial_id == t_trial.c.twin_id) & (t_trial.c.kind == TrialKind.LATE), isouter=True
        )
        .where(t_trial.c.trial_id == trial_id)
    ).first()


class _Reports(TypedDict):
    reported: int
    reports: list[ReportView]


def _reports(connection: Connection, trial_id: int) -> _Reports:
    some = trials_module.some_reports(connection, [trial_id])[trial_id]
    reported = some[0].of_trial if some else 0
    return {"reported": reported, "reports": [trials_module.report(row) for row in some]}


def _point(connection: Connection, study_id: int, trial_id: int, encoding: Encoding) -> PointView | None:
    """The trial's point now; None if its parameters are not a point of the space."""
    try:
        key = encoding.point_of_rows(trial_rows.read_params(connection, trial_id)).key
    except (KeyError, ValueError):
        return None
    # The trial's own row comes first, because a deliberate repetition has one beside the point's.
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
    facts = _facts(connection, row.trial_id)
    return {
        "state": PointState(row.state).value,
        "trial": row.number,
        "host": None if facts is None else trials_module.as_text(facts.host),
        "late_of": _late_of(facts),
        "losses": int(row.losses),
    }


def _failures(retried: Any) -> list[FailureView]:
    """Skips other values, because plain Optuna may use the same attribute."""
    known = retried if isinstance(retried, list) else []
    return [
        {"cause": str(each["cause"]), "message": str(each.get("message", ""))}
        for each in known
        if isinstance(each, dict) and "cause" in each
    ]


def _replicates(connection: Connection, trial_id: int, plan: Mapping[str, Any]) -> ReplicatesView | None:
    if plan["count"] == 1:
        return None
    kept = trial_rows.read_user_attribute(connection, trial_id, "REPLICATES")
    # Plain Optuna may use the same attribute.
    known = kept if isinstance(kept, list) and all(isinstance(each, list) for each in kept) else []
    values = [[float(value) for value in each if isinstance(value, int | float)] for each in known]
    return {"count": plan["count"], "reduce": plan["reduce"], "values": values}


def _late_of(facts: Any) -> int | None:
    return facts.twin_number if facts is not None and facts.kind == TrialKind.LATE else None
