"""The best trials as the control socket shows them, and the nearest one while none is feasible.

This module only reads. Callers open the connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from optuna.study import StudyDirection
from sqlalchemy import Connection

from tuned.storage.queries import trials as trials_module
from tuned.storage.queries.best import best_ids, leading_ids
from tuned.storage.trials.constraints import nearest_ids

if TYPE_CHECKING:
    from tuned.protocol.trials import BestsView, BestView, TrialView


def bests(
    connection: Connection, study_id: int, directions: Sequence[StudyDirection], limit: int | None
) -> BestsView:
    """The best trial, or the front in the order of numbers, and so many of them."""
    found = _bests(connection, study_id, directions, limit)
    nearest = {} if found else nearest_ids(connection, [study_id])
    return {"best": found, "nearest": best_views(connection, nearest).get(study_id)}


def best_views(connection: Connection, trial_ids: Mapping[int, int]) -> dict[int, BestView]:
    """One trial of each study."""
    views = trials_module.by_id(connection, list(trial_ids.values()))
    # Both are in the order of the trials' ids.
    return dict(zip(sorted(trial_ids, key=trial_ids.__getitem__), map(_best_view, views), strict=True))


def _bests(
    connection: Connection, study_id: int, directions: Sequence[StudyDirection], limit: int | None
) -> list[BestView]:
    if limit is not None and len(directions) == 1:
        ids = leading_ids(connection, study_id, directions[0], limit)
        found = {view["number"]: view for view in trials_module.by_id(connection, list(ids))}
        return [_best_view(found[number]) for number in ids.values()]
    front = best_ids(connection, {study_id: directions}).get(study_id, [])
    views = trials_module.by_id(connection, front)
    return [_best_view(view) for view in sorted(views, key=_evaluated_first)][:limit]


def _evaluated_first(view: TrialView) -> tuple[int, bool]:
    # A trial that plain Optuna enqueued may be older than the one whose values it reuses.
    twin = view["duplicate_of"]
    return (view["number"], False) if twin is None else (max(view["number"], twin["number"]), True)


def _best_view(view: TrialView) -> BestView:
    return {
        "number": view["number"],
        "values": view["values"] or [],
        "params": view["params"],
        "host": view["host"],
        "constraints": view["constraints"],
    }
