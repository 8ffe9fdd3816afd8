"""Writes and reads the rows of single trials in Optuna's tables.

No other module knows how Optuna stores a value, an attribute or a time: modules that read many rows at once
restore each with this one. ``encoding`` owns the parameters. Callers open the transaction, and hold the
study's lock if a trial gets its number.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from typing import TYPE_CHECKING, Any

from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialValueModel
from optuna.trial import TrialState
from sqlalchemy import (
    Connection,
    Insert,
    Integer,
    Row,
    Table,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from tuned.domain.constraints import PREFIX as CONSTRAINT_PREFIX
from tuned.storage.tables.functions import next_trial_id
from tuned.storage.tables.schema import (
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from tuned.storage.tables.statements import Statement, bound, insertion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tuned.domain.result import ParamRow

_Kind = TrialValueModel.TrialValueType

#: The sign of an infinity, which Optuna stores without a value: -1 or 1, and 0 if the value is finite.
INFINITY = case(
    (trial_values.c.value_type == _Kind.INF_NEG, -1), (trial_values.c.value_type == _Kind.INF_POS, 1), else_=0
)

_last_number = (
    select(trials.c.number)
    .where(trials.c.study_id == bindparam("study"))
    .order_by(trials.c.trial_id.desc())
    .limit(1)
    .scalar_subquery()
)

#: The number of the next trial of the bound ``study``.
NEXT_NUMBER = (func.coalesce(_last_number, literal(-1, Integer)) + 1).label("number")

#: The id and the number of the next trial of the bound ``study``. Only a statement under its lock may return
#: them.
NEXT_TRIAL = (next_trial_id().label("trial_id"), NEXT_NUMBER)


#: So many intermediate values go into one statement with others.
FEW = 8

#: By the database's dialect.
_INSERTS: dict[str, Callable[[Table], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}


@functools.cache
def _put(dialect: str, table: Table, keys: tuple[str, str], rows: int | None = None) -> Insert:
    """Adds rows, or replaces those with the same keys: so many with bound values, or as many as are given."""
    row = _INSERTS[dialect](table)
    names = [column.name for column in table.columns if not column.primary_key]
    if rows is not None:
        row = row.values(
            [
                {name: bindparam(bound(table, name, n), type_=table.c[name].type) for name in names}
                for n in range(rows)
            ]
        )
    others = {name: row.excluded[name] for name in names if name not in keys}
    put: Insert = row.on_conflict_do_update(index_elements=keys, set_=others)
    return put


_INTERMEDIATE = (trial_intermediate_values, ("trial_id", "step"))

_SYSTEM_ATTRIBUTES = (trial_system_attributes, ("trial_id", "key"))


def utc_now() -> dt.datetime:
    """The time as Optuna stores it: UTC without a zone."""
    return stored_time(dt.datetime.now(dt.UTC))


def stored_moment(seconds: float) -> dt.datetime:
    """A number of seconds since 1970 as Optuna stores it."""
    return stored_time(dt.datetime.fromtimestamp(seconds, dt.UTC))


def stored_time(time: dt.datetime) -> dt.datetime:
    """A time in UTC as Optuna stores it."""
    return time.replace(tzinfo=None)


def restored_time(stored: dt.datetime) -> dt.datetime:
    return stored.replace(tzinfo=dt.UTC)


def restored_value(row: Row[Any] | Row[Any, Any]) -> float:
    """The value in a row of ``trial_values``."""
    return TrialValueModel.stored_repr_to_value(row.value, row.value_type)


def restored_intermediate(row: Row[Any]) -> float:
    """The value in a row of ``trial_intermediate_values``."""
    restore = TrialIntermediateValueModel.stored_repr_to_intermediate_value
    return restore(row.intermediate_value, row.intermediate_value_type)


def restored_attribute(stored: str) -> Any:
    """The value of an attribute of a trial or a study."""
    return json.loads(stored)


def stored_attribute(value: Any) -> str:
    return json.dumps(value)


def trial(
    study_id: int, trial_id: int, number: int, state: TrialState, *, started: float | None = None
) -> Statement | None:
    """Adds a trial, with the id and the number from ``NEXT_TRIAL``; it starts now unless ``started`` says so.

    ``started`` is in seconds since 1970.
    """
    now = utc_now()
    row = {
        "trial_id": trial_id,
        "study_id": study_id,
        "number": number,
        "state": state,
        "datetime_start": now if started is None else stored_moment(started),
        "datetime_complete": now if state.is_finished() else None,
    }
    return insertion(trials, [row])


def start_waiting(connection: Connection, trial_id: int, state: TrialState) -> int | None:
    """Moves a WAITING trial into another state and returns its number; None if it no longer waits."""
    now = utc_now()
    return connection.execute(
        update(trials)
        .where(trials.c.trial_id == trial_id, trials.c.state == TrialState.WAITING)
        .values(state=state, datetime_start=now, datetime_complete=now if state.is_finished() else None)
        .returning(trials.c.number)
    ).scalar()


_finish = (
    update(trials)
    .where(trials.c.trial_id.in_(bindparam("ids", expanding=True)), trials.c.state == TrialState.RUNNING)
    .values(state=bindparam("ended"), datetime_complete=bindparam("now"))
    .returning(trials.c.trial_id)
)


def finish_trials(connection: Connection, trial_ids: Sequence[int], state: TrialState) -> list[int]:
    """Ends those of the trials that are RUNNING, and returns their ids. This is the fence."""
    ended = {"ids": list(trial_ids), "ended": state, "now": utc_now()}
    return list(connection.execute(_finish, ended).scalars())


def params(trial_id: int, rows: Iterable[ParamRow]) -> Statement | None:
    return insertion(trial_params, param_rows(trial_id, rows))


def param_rows(trial_id: int, rows: Iterable[ParamRow]) -> list[dict[str, Any]]:
    return [
        {
            "trial_id": trial_id,
            "param_name": row.param_name,
            "param_value": row.param_value,
            "distribution_json": row.distribution_json,
        }
        for row in rows
    ]


def delete_details(
    connection: Connection, trial_id: int, *, user_keys: Iterable[str], system_keys: Iterable[str]
) -> None:
    """Deletes all parameters and constraints of a trial, and these of its attributes."""
    connection.execute(delete(trial_params).where(trial_params.c.trial_id == trial_id))
    _delete_attributes(connection, trial_user_attributes, trial_id, user_keys)
    _delete_attributes(connection, trial_system_attributes, trial_id, system_keys)
    # No measurement of a trial that has not begun.
    connection.execute(
        delete(trial_system_attributes).where(
            trial_system_attributes.c.trial_id == trial_id,
            trial_system_attributes.c.key.startswith(CONSTRAINT_PREFIX),
        )
    )


def _delete_attributes(connection: Connection, table: Table, trial_id: int, keys: Iterable[str]) -> None:
    if names := list(keys):
        connection.execute(delete(table).where(table.c.trial_id == trial_id, table.c.key.in_(names)))


def values(trial_id: int, found: Sequence[float]) -> Statement | None:
    return insertion(trial_values, value_rows(trial_id, found))


def value_rows(trial_id: int, found: Sequence[float]) -> list[dict[str, Any]]:
    rows = []
    for objective, value in enumerate(found):
        stored, kind = TrialValueModel.value_to_stored_repr(value)
        rows.append({"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind})
    return rows


def put_intermediate(connection: Connection, reports: Mapping[int, Mapping[int, float]]) -> None:
    """Sets intermediate values by trial and step, of which there may be thousands."""
    rows = [row for trial_id, values in reports.items() for row in _intermediate_rows(trial_id, values)]
    if rows:
        connection.execute(_put(connection.dialect.name, *_INTERMEDIATE), rows)


def intermediate(dialect: str, trial_id: int, reports: Mapping[int, float]) -> Statement | None:
    """Sets at most ``FEW`` intermediate values; None without any."""
    if not reports:
        return None
    values = {
        bound(trial_intermediate_values, name, n): value
        for n, row in enumerate(_intermediate_rows(trial_id, reports))
        for name, value in row.items()
    }
    return Statement(_put(dialect, *_INTERMEDIATE, len(reports)), values)


def _intermediate_rows(trial_id: int, reports: Mapping[int, float]) -> list[dict[str, Any]]:
    rows = []
    for step, value in reports.items():
        stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        rows.append(
            {
                "trial_id": trial_id,
                "step": step,
                "intermediate_value": stored,
                "intermediate_value_type": kind,
            }
        )
    return rows


def delete_intermediate(connection: Connection, trial_id: int) -> None:
    of_trial = trial_intermediate_values.c.trial_id == trial_id
    connection.execute(delete(trial_intermediate_values).where(of_trial))


def put_system_attributes(connection: Connection, attributes: Mapping[int, Mapping[str, Any]]) -> None:
    """Sets attributes by trial and name."""
    rows = [row for trial_id, named in attributes.items() for row in attribute_rows(trial_id, named)]
    if rows:
        connection.execute(_put(connection.dialect.name, *_SYSTEM_ATTRIBUTES), rows)


def set_user_attributes(connection: Connection, trial_id: int, attributes: Mapping[str, str]) -> None:
    """Sets attributes, given as JSON, of which there may be hundreds. They replace enqueued ones."""
    if attributes:
        _delete_attributes(connection, trial_user_attributes, trial_id, attributes)
        rows = [{"trial_id": trial_id, "key": key, "value_json": json_} for key, json_ in attributes.items()]
        connection.execute(insert(trial_user_attributes), rows)


def user_attributes(trial_id: int, attributes: Mapping[str, Any]) -> Statement | None:
    return insertion(trial_user_attributes, attribute_rows(trial_id, attributes))


def restored_attributes(stored: Mapping[str, str]) -> dict[str, Any]:
    return {key: restored_attribute(value) for key, value in stored.items()}


def system_attributes(trial_id: int, attributes: Mapping[str, Any]) -> Statement | None:
    return insertion(trial_system_attributes, attribute_rows(trial_id, attributes))


def attribute_rows(trial_id: int, attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": stored_attribute(value)}
        for key, value in attributes.items()
    ]


def read_values(connection: Connection, trial_id: int) -> tuple[float, ...]:
    rows = connection.execute(
        select(trial_values.c.value, trial_values.c.value_type)
        .where(trial_values.c.trial_id == trial_id)
        .order_by(trial_values.c.objective)
    )
    return tuple(restored_value(row) for row in rows)


def read_params(connection: Connection, trial_id: int) -> dict[str, float]:
    """The parameters of a trial in Optuna's internal representation."""
    rows = connection.execute(
        select(trial_params.c.param_name, trial_params.c.param_value).where(
            trial_params.c.trial_id == trial_id
        )
    )
    return {row.param_name: row.param_value for row in rows}


def read_user_attribute(connection: Connection, trial_id: int, key: str) -> Any:
    """The value of a user attribute; None if the trial has none of this key."""
    found = connection.execute(
        select(trial_user_attributes.c.value_json).where(
            trial_user_attributes.c.trial_id == trial_id, trial_user_attributes.c.key == key
        )
    ).scalar()
    return None if found is None else restored_attribute(found)
