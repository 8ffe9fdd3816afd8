"""Trials as the control socket shows them, read for many at once: a page costs the same however long it is.

Only reads. Callers bring the connection.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb.models import TrialValueModel
from optuna.trial import TrialState
from sqlalchemy import BigInteger, ColumnElement, Connection, Row, ScalarSelect, Select, cast, func, select

from tuned.storage.schema import trial_params, trial_user_attributes, trial_values, trials

if TYPE_CHECKING:
    from tuned.protocol import FailureView, Params, TrialStateName, TrialView, TwinView


#: Ids in one statement; databases bound the number of parameters.
BATCH = 1000


#: Above every id: they are 32 bits wide.
_NO_ID = 2**31


#: What a view needs of a trial's user attributes.
_ATTRIBUTES = ("HOST", "FAILURE", "RETRIED")


#: The attribute ``HOST`` of trials that are duplicates: an outer join with it tells them from evaluated ones.
twin_of = trial_user_attributes.alias("twin_of")


#: Quotes inside of a JSON string are escaped, so that no host's name can look like the key.
is_twin_of_trial: ColumnElement[bool] = (
    (twin_of.c.trial_id == trials.c.trial_id)
    & (twin_of.c.key == "HOST")
    & twin_of.c.value_json.like('%"msg": %')
)


def page(
    connection: Connection, study_id: int, *, state: TrialStateName | None, before: int | None, limit: int
) -> list[TrialView]:
    """The newest ``limit`` trials with a number below ``before``, newest first."""
    query = _newest(study_id, limit)
    if state is not None:
        query = query.where(trials.c.state == TrialState[state])
    if before is not None:
        # The number says which, the id only where an index finds them.
        end = func.coalesce(_id_of(study_id, before), _NO_ID)
        query = query.where(trials.c.number < before, trials.c.trial_id < end)
    return _views(connection, connection.execute(query).all())


def newest_failures(connection: Connection, study_id: int, limit: int) -> list[TrialView]:
    """The newest trials that failed, without skipped ones."""
    failed = _newest(study_id, limit).where(trials.c.state == TrialState.FAIL, twin_of.c.trial_id.is_(None))
    query = failed.join_from(trials, twin_of, is_twin_of_trial, isouter=True)
    return _views(connection, connection.execute(query).all())


def one(connection: Connection, study_id: int, number: int) -> TrialView | None:
    found = select(trials).where(trials.c.trial_id == _id_of(study_id, number))
    return next(iter(_views(connection, connection.execute(found).all())), None)


def id_of(connection: Connection, study_id: int, number: int) -> int:
    """The id of a trial that there is."""
    return int(connection.execute(select(_id_of(study_id, number))).scalar_one())


def by_id(connection: Connection, trial_ids: Sequence[int]) -> list[TrialView]:
    """These trials in the order of their numbers."""
    views: list[TrialView] = []
    ids = sorted(trial_ids)
    for start in range(0, len(ids), BATCH):
        batch = trials.c.trial_id.in_(ids[start : start + BATCH])
        found = connection.execute(select(trials).where(batch).order_by(trials.c.trial_id))
        views += _views(connection, found.all())
    return views


def _newest(study_id: int, limit: int) -> Select[Any]:
    # Numbers are given in the order of ids.
    of_study = select(trials).where(trials.c.study_id == study_id)
    return of_study.order_by(trials.c.trial_id.desc()).limit(limit)


def _id_of(study_id: int, number: int) -> ScalarSelect[int]:
    """The id of the trial with this number.

    Ids grow at least as fast as numbers: the search begins at the first id plus the number, which is the
    trial itself where no other study's trials lie between.
    """
    first = select(func.min(trials.c.trial_id)).where(trials.c.study_id == study_id).scalar_subquery()
    return (
        select(trials.c.trial_id)
        .where(
            trials.c.study_id == study_id,
            trials.c.trial_id >= cast(first, BigInteger) + number,
            trials.c.number == number,
        )
        .order_by(trials.c.trial_id)
        .limit(1)
        .scalar_subquery()
    )


def _views(connection: Connection, found: Sequence[Row[Any]]) -> list[TrialView]:
    ids = [row.trial_id for row in found]
    values = _grouped(connection, select(trial_values).order_by(trial_values.c.objective), ids)
    params = _grouped(connection, select(trial_params).order_by(trial_params.c.param_id), ids)
    wanted = select(trial_user_attributes).where(trial_user_attributes.c.key.in_(_ATTRIBUTES))
    attributes = _grouped(connection, wanted, ids)
    # Not kept for longer: distributions differ between studies, and studies come and go.
    restored = cache(json_to_distribution)
    return [
        _view(
            row,
            params={p.param_name: _external(p, restored(p.distribution_json)) for p in params[row.trial_id]},
            values=[
                TrialValueModel.stored_repr_to_value(v.value, v.value_type) for v in values[row.trial_id]
            ],
            attributes={a.key: json.loads(a.value_json) for a in attributes[row.trial_id]},
        )
        for row in found
    ]


def _grouped(
    connection: Connection, query: Select[Any], trial_ids: Sequence[int]
) -> Mapping[int, list[Row[Any]]]:
    grouped: dict[int, list[Row[Any]]] = defaultdict(list)
    if trial_ids:
        for row in connection.execute(query.where(query.selected_columns.trial_id.in_(trial_ids))):
            grouped[row.trial_id].append(row)
    return grouped


def _external(param: Row[Any], distribution: BaseDistribution) -> Any:
    return distribution.to_external_repr(param.param_value)


def _view(row: Row[Any], *, params: Params, values: list[float], attributes: Mapping[str, Any]) -> TrialView:
    started, ended = row.datetime_start, row.datetime_complete
    host = _object(attributes.get("HOST"))
    retried = attributes.get("RETRIED")
    return {
        "number": row.number,
        "state": row.state.name,
        "params": params,
        "values": values or None,
        "host": host.get("host"),
        "duplicate_of": _twin(host),
        "failure": _failure(_object(attributes.get("FAILURE"))),
        "started": None if started is None else _utc(started),
        "ended": None if ended is None else _utc(ended),
        "seconds": None if started is None or ended is None else (ended - started).total_seconds(),
        "attempt": 1 + (len(retried) if isinstance(retried, list) else 0),
    }


def _object(attribute: Any) -> Mapping[str, Any]:
    """The attribute, if it has the form of ours: plain Optuna may have another by the same name."""
    return attribute if isinstance(attribute, dict) else {}


def _twin(host: Mapping[str, Any]) -> TwinView | None:
    return (
        {"number": host["number"], "host": host.get("HOST_s")} if {"msg", "number"} <= host.keys() else None
    )


def _failure(failure: Mapping[str, Any]) -> FailureView | None:
    if "cause" not in failure:
        return None
    return {"cause": failure["cause"], "message": failure.get("message", "")}


def _utc(time: dt.datetime) -> str:
    """A time without zone, as the database keeps it, in ISO 8601."""
    return time.replace(tzinfo=dt.UTC).isoformat(timespec="microseconds")
