"""Trials as the control socket shows them. A page costs the same number of statements, however long it is.

This module only reads. Callers open the connection.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    ScalarSelect,
    Select,
    case,
    cast,
    func,
    select,
)

from tuned.domain.claim import TrialKind
from tuned.storage.tables.schema import (
    study_directions,
    t_trial,
    trial_intermediate_values,
    trial_params,
    trial_user_attributes,
    trial_values,
    trials,
)
from tuned.storage.trials import trial_rows
from tuned.storage.trials.constraints import constraints_of
from tuned.storage.trials.trial_facts import DUPLICATES

if TYPE_CHECKING:
    from tuned.protocol.fields import Params, TrialStateName
    from tuned.protocol.trials import PrunedView, ReportView, TrialView

#: How many ids one statement has, because databases limit the number of parameters.
BATCH = 1000

#: How many intermediate values of a trial are shown.
MOST_REPORTS = 100

#: Above every id, because ids are signed 32-bit numbers.
_NO_ID = 2**31

#: The rows of duplicates. An outer join with them distinguishes duplicates from evaluated trials.
duplicate = t_trial.alias("duplicate")

is_duplicate: ColumnElement[bool] = (duplicate.c.trial_id == trials.c.trial_id) & duplicate.c.kind.in_(
    DUPLICATES
)

_twin = trials.alias("twin")
_twin_facts = t_trial.alias("twin_facts")

#: A trial with our facts of it and of its twin. They are NULL if another program made the trial.
_SHOWN = select(
    trials,
    t_trial.c.kind,
    t_trial.c.host,
    t_trial.c.cause,
    t_trial.c.attempts,
    t_trial.c.waited_seconds,
    _twin.c.number.label("twin_number"),
    _twin_facts.c.host.label("twin_host"),
).select_from(
    trials.join(t_trial, t_trial.c.trial_id == trials.c.trial_id, isouter=True)
    .join(_twin, _twin.c.trial_id == t_trial.c.twin_id, isouter=True)
    .join(_twin_facts, _twin_facts.c.trial_id == t_trial.c.twin_id, isouter=True)
)


_other = trial_intermediate_values.alias("other")

#: The intermediate values of the highest steps. An index finds each, however many there are.
_LAST_REPORT = select(trial_intermediate_values).where(
    trial_intermediate_values.c.step
    == select(func.max(_other.c.step))
    .where(_other.c.trial_id == trial_intermediate_values.c.trial_id)
    .scalar_subquery()
)


def page(
    connection: Connection, study_id: int, *, state: TrialStateName | None, before: int | None, limit: int
) -> list[TrialView]:
    """The newest ``limit`` trials with a number below ``before``, newest first."""
    query = _newest(study_id, limit)
    if state is not None:
        query = query.where(trials.c.state == TrialState[state])
    if before is not None:
        # The number selects the trials. The id only lets an index find them.
        end = func.coalesce(_id_of(study_id, before), _NO_ID)
        query = query.where(trials.c.number < before, trials.c.trial_id < end)
    return _views(connection, connection.execute(query).all())


def after(connection: Connection, study_id: int, *, after: int, limit: int) -> dict[int, TrialView]:
    """The oldest ``limit`` trials with a number above ``after``, by id, oldest first."""
    query = _SHOWN.where(trials.c.study_id == study_id, trials.c.number > after)
    # The number selects the trials. The id only lets an index find them.
    begin = func.coalesce(_id_of(study_id, after), -1)
    query = query.where(trials.c.trial_id > begin).order_by(trials.c.trial_id).limit(limit)
    found = connection.execute(query).all()
    return dict(zip([row.trial_id for row in found], _views(connection, found), strict=True))


def by_value(
    connection: Connection, study_id: int, *, state: TrialStateName | None, limit: int
) -> list[TrialView]:
    """The ``limit`` trials with the best first values, the best first."""
    of = study_directions.c
    query = (
        _SHOWN.join(
            trial_values, (trial_values.c.trial_id == trials.c.trial_id) & (trial_values.c.objective == 0)
        )
        .join(study_directions, (of.study_id == trials.c.study_id) & (of.objective == 0))
        .where(trials.c.study_id == study_id)
    )
    if state is not None:
        query = query.where(trials.c.state == TrialState[state])
    sign = case((of.direction == StudyDirection.MAXIMIZE, -1), else_=1)
    ordered = query.order_by(trial_rows.INFINITY * sign, trial_values.c.value * sign, trials.c.trial_id)
    return _views(connection, connection.execute(ordered.limit(limit)).all())


def newest_failures(connection: Connection, study_id: int, limit: int) -> list[TrialView]:
    """The newest failed trials, without skipped ones."""
    is_skipped = t_trial.c.kind.is_not_distinct_from(TrialKind.SKIPPED)
    query = _newest(study_id, limit).where(trials.c.state == TrialState.FAIL, ~is_skipped)
    return _views(connection, connection.execute(query).all())


def one(connection: Connection, study_id: int, number: int) -> TrialView | None:
    found = _SHOWN.where(trials.c.trial_id == _id_of(study_id, number))
    return next(iter(_views(connection, connection.execute(found).all())), None)


def id_of(connection: Connection, study_id: int, number: int) -> int:
    """The id of an existing trial."""
    return int(connection.execute(select(_id_of(study_id, number))).scalar_one())


def by_id(connection: Connection, trial_ids: Sequence[int]) -> list[TrialView]:
    """These trials in the order of their numbers."""
    views: list[TrialView] = []
    ids = sorted(trial_ids)
    for start in range(0, len(ids), BATCH):
        batch = trials.c.trial_id.in_(ids[start : start + BATCH])
        found = connection.execute(_SHOWN.where(batch).order_by(trials.c.trial_id))
        views += _views(connection, found.all())
    return views


def _newest(study_id: int, limit: int) -> Select[Any]:
    # Numbers are in the order of ids.
    of_study = _SHOWN.where(trials.c.study_id == study_id)
    return of_study.order_by(trials.c.trial_id.desc()).limit(limit)


def _id_of(study_id: int, number: int) -> ScalarSelect[int]:
    """The id of the trial with this number.

    Ids grow at least as fast as numbers, so the search begins at the first id plus the number. If no other
    study's trials lie between, that is the trial itself.
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
    values = grouped(connection, select(trial_values).order_by(trial_values.c.objective), ids)
    params = grouped(connection, select(trial_params).order_by(trial_params.c.param_id), ids)
    failed = [row.trial_id for row in found if row.cause is not None]
    failures = grouped(connection, _attributes("FAILURE"), failed)
    running = [row.trial_id for row in found if row.state is TrialState.RUNNING]
    reports = grouped(connection, _LAST_REPORT, running)
    constraints = constraints_of(connection, ids)
    pruned = [row.trial_id for row in found if row.state is TrialState.PRUNED]
    prunings = grouped(connection, _attributes("PRUNED"), pruned)
    # A cache for this call only, because distributions differ between studies, and studies come and go.
    restored = cache(json_to_distribution)
    return [
        _view(
            row,
            params={p.param_name: _external(p, restored(p.distribution_json)) for p in params[row.trial_id]},
            values=[trial_rows.restored_value(v) for v in values[row.trial_id]],
            message=_message(failures[row.trial_id]),
            report=next(map(report, reports[row.trial_id]), None),
            constraints=constraints.get(row.trial_id, {}),
            pruned=_pruned(prunings[row.trial_id]),
        )
        for row in found
    ]


def _attributes(key: str) -> Select[Any]:
    return select(trial_user_attributes).where(trial_user_attributes.c.key == key)


def grouped(
    connection: Connection, query: Select[Any], trial_ids: Sequence[int]
) -> Mapping[int, list[Row[Any]]]:
    """The rows of a query by trial; it selects from a table with a column ``trial_id``."""
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    if trial_ids:
        for row in connection.execute(query.where(query.selected_columns.trial_id.in_(trial_ids))):
            found[row.trial_id].append(row)
    return found


def some_reports(connection: Connection, trial_ids: Sequence[int]) -> Mapping[int, list[Row[Any]]]:
    """At most so many intermediate values of each trial, evenly, with its last, in the order of their steps.

    The database chooses them, because a trial may have 10,000. ``of_trial`` is how many it has.
    """
    rows = trial_intermediate_values
    of_trial = func.count().over(partition_by=rows.c.trial_id)
    from_last = func.row_number().over(partition_by=rows.c.trial_id, order_by=rows.c.step.desc()) - 1
    counted = (
        select(rows, of_trial.label("of_trial"), from_last.label("from_last"))
        .where(rows.c.trial_id.in_(trial_ids))
        .subquery()
    )
    stride = (counted.c.of_trial + MOST_REPORTS - 1) // MOST_REPORTS
    query = select(counted).where(counted.c.from_last % stride == 0).order_by(counted.c.step)
    return grouped(connection, query, trial_ids)


def _external(param: Row[Any], distribution: BaseDistribution) -> Any:
    return distribution.to_external_repr(param.param_value)


def report(row: Row[Any]) -> ReportView:
    """A row of ``trial_intermediate_values``."""
    return {"step": row.step, "value": trial_rows.restored_intermediate(row)}


def _view(
    row: Row[Any],
    *,
    params: Params,
    values: list[float],
    message: str,
    report: ReportView | None,
    constraints: dict[str, float],
    pruned: PrunedView | None,
) -> TrialView:
    started, ended = row.datetime_start, _ended(row)
    return {
        "number": row.number,
        "state": row.state.name,
        "params": params,
        "values": values or None,
        "host": as_text(row.host),
        "duplicate_of": (
            {"number": row.twin_number, "host": as_text(row.twin_host)} if row.kind in DUPLICATES else None
        ),
        "failure": None if row.cause is None else {"cause": str(row.cause), "message": message},
        "pruned": pruned,
        "started": None if started is None else _utc(started),
        "ended": None if ended is None else _utc(ended),
        "seconds": None if started is None or ended is None else (ended - started).total_seconds(),
        "attempt": row.attempts if isinstance(row.attempts, int) else 1,
        "report": report,
        "constraints": constraints,
    }


def _ended(row: Row[Any]) -> dt.datetime | None:
    """The end of its evaluation, which may have waited for its tell."""
    told: dt.datetime | None = row.datetime_complete
    started, waited = row.datetime_start, row.waited_seconds
    if told is None or started is None or not isinstance(waited, float):
        return told
    # A person may have written anything there.
    is_within = 0 <= waited <= (told - started).total_seconds()
    return told - dt.timedelta(seconds=waited) if is_within else told


def as_text(stored: object) -> str | None:
    """The text in a column of ours, or what SQLite has there instead."""
    return None if stored is None else str(stored)


def _message(failures: Sequence[Row[Any]]) -> str:
    """The message of a failure. Only the attribute has it, because it is for people."""
    failure = trial_rows.restored_attribute(failures[0].value_json) if failures else None
    return str(failure.get("message", "")) if isinstance(failure, dict) else ""


def _pruned(prunings: Sequence[Row[Any]]) -> PrunedView | None:
    """None also if another program uses the attribute for something else."""
    try:
        found = trial_rows.restored_attribute(prunings[0].value_json)
        bound = found.get("bound")
        return {
            "rule": str(found["rule"]),
            "step": int(found["step"]),
            "value": float(found["value"]),
            "bound": None if bound is None else float(bound),
        }
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def _utc(time: dt.datetime) -> str:
    """A time without zone, as the database keeps it, in ISO 8601."""
    return trial_rows.restored_time(time).isoformat(timespec="microseconds")
