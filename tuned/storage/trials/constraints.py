"""The constraints of trials as Optuna keeps them: copied for a reused trial, and read back.

Constraints are rare: callers read those of all trials of a study only if they matter. A tell writes them with
the other system attributes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection, Integer, Row, Select, bindparam, insert, or_, select

from tuned.domain.constraints import PREFIX, violation
from tuned.storage.tables.schema import trial_system_attributes, trials
from tuned.storage.tables.statements import Statement
from tuned.storage.trials.trial_rows import restored_attribute

_kept = trial_system_attributes.alias("kept")

#: One list, as Optuna kept them before, or one row for each.
_IS_CONSTRAINT = or_(_kept.c.key == "constraints", _kept.c.key.startswith(PREFIX))

_CONSTRAINTS = select(_kept.c.trial_id, _kept.c.key, _kept.c.value_json).where(_IS_CONSTRAINT)

_COPY = insert(trial_system_attributes).from_select(
    ["trial_id", "key", "value_json"],
    select(bindparam("copied_to", type_=Integer), _kept.c.key, _kept.c.value_json).where(
        _kept.c.trial_id == bindparam("copied_from"), _IS_CONSTRAINT
    ),
)


def copied(trial_id: int, twin_id: int) -> Statement:
    """Gives a new trial the constraints of another, whose values it reuses."""
    return Statement(_COPY, {"copied_to": trial_id, "copied_from": twin_id})


def constraints_of(connection: Connection, trial_ids: Collection[int]) -> dict[int, dict[str, float]]:
    """By trial and name, in the order of the names; a trial without constraints is missing."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    if trial_ids:
        query = _CONSTRAINTS.where(_kept.c.trial_id.in_(trial_ids)).order_by(_kept.c.key)
        for row in connection.execute(query):
            found[row.trial_id].update(_restored(row))
    return dict(found)


def infeasible(connection: Connection, trial_ids: Collection[int] | Select[tuple[int]]) -> set[int]:
    """Those of the trials that violate a constraint."""
    found = connection.execute(_CONSTRAINTS.where(_kept.c.trial_id.in_(trial_ids)))
    return {row.trial_id for row in found if any(not value <= 0 for _, value in _restored(row))}


def nearest_ids(connection: Connection, study_ids: Collection[int]) -> dict[int, int]:
    """The COMPLETE trial of each study that violates its constraints least; the first one among equals."""
    if not study_ids:
        return {}
    of_complete = _CONSTRAINTS.add_columns(trials.c.study_id).join(
        trials, trials.c.trial_id == _kept.c.trial_id
    )
    found = connection.execute(
        of_complete.where(trials.c.study_id.in_(study_ids), trials.c.state == TrialState.COMPLETE)
    )
    by_study: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for row in found:
        by_study[row.study_id][row.trial_id] += violation(value for _, value in _restored(row))
    return {
        study: min(of_study, key=lambda trial: (of_study[trial], trial))
        for study, of_study in by_study.items()
    }


def _restored(row: Row[Any, Any, Any] | Row[Any, Any, Any, Any]) -> Iterator[tuple[str, float]]:
    kept = restored_attribute(row.value_json)
    if row.key == "constraints":
        yield from ((str(place), value) for place, value in enumerate(kept))
    else:
        yield row.key.removeprefix(PREFIX), kept
