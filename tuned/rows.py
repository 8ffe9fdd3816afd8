"""Writes and reads the rows of single trials in Optuna's tables.

The only place that knows how Optuna stores a value, an attribute or a time. Callers bring the
transaction, and hold the study's lock where a trial gets its number.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialValueModel
from optuna.trial import TrialState
from sqlalchemy import Connection, Integer, delete, func, insert, literal, select, update

from tuned.schema import (
    studies,
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tuned.encoding import ParamRow


def lock_study(connection: Connection, study_id: int) -> bool:
    """Takes the lock under which a study's trials are numbered; False if the study is gone."""
    locked = select(studies.c.study_id).where(studies.c.study_id == study_id).with_for_update(key_share=True)
    return connection.execute(locked).first() is not None


def utc_now() -> dt.datetime:
    """Now, as Optuna stores times: UTC without a zone."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def insert_trial(connection: Connection, study_id: int, state: TrialState) -> tuple[int, int]:
    """Adds a trial under the study's lock and returns its id and its number."""
    now = utc_now()
    last = (
        select(trials.c.number)
        .where(trials.c.study_id == study_id)
        .order_by(trials.c.trial_id.desc())
        .limit(1)
        .scalar_subquery()
    )
    row = connection.execute(
        insert(trials)
        .values(
            study_id=study_id,
            number=func.coalesce(last, literal(-1, Integer)) + 1,
            state=state,
            datetime_start=now,
            datetime_complete=now if state.is_finished() else None,
        )
        .returning(trials.c.trial_id, trials.c.number)
    ).one()
    return row.trial_id, row.number


def start_waiting(connection: Connection, trial_id: int, state: TrialState) -> int | None:
    """Takes a WAITING trial into another state and returns its number; None if it is taken already."""
    now = utc_now()
    return connection.execute(
        update(trials)
        .where(trials.c.trial_id == trial_id, trials.c.state == TrialState.WAITING)
        .values(state=state, datetime_start=now, datetime_complete=now if state.is_finished() else None)
        .returning(trials.c.number)
    ).scalar()


def finish_trials(connection: Connection, trial_ids: Sequence[int], state: TrialState) -> list[int]:
    """Ends those of the trials that are RUNNING and returns their ids: this is the fence."""
    ended = connection.execute(
        update(trials)
        .where(trials.c.trial_id.in_(trial_ids), trials.c.state == TrialState.RUNNING)
        .values(state=state, datetime_complete=utc_now())
        .returning(trials.c.trial_id)
    )
    return list(ended.scalars())


def insert_params(connection: Connection, trial_id: int, params: Iterable[ParamRow]) -> None:
    connection.execute(
        insert(trial_params).values(
            [
                {
                    "trial_id": trial_id,
                    "param_name": row.param_name,
                    "param_value": row.param_value,
                    "distribution_json": row.distribution_json,
                }
                for row in params
            ]
        )
    )


def delete_details(
    connection: Connection, trial_id: int, *, user_keys: Iterable[str], system_keys: Iterable[str]
) -> None:
    """Removes all parameters of a trial, and these of its attributes."""
    connection.execute(delete(trial_params).where(trial_params.c.trial_id == trial_id))
    for table, keys in ((trial_user_attributes, user_keys), (trial_system_attributes, system_keys)):
        connection.execute(delete(table).where(table.c.trial_id == trial_id, table.c.key.in_(list(keys))))


def insert_values(connection: Connection, trial_id: int, values: Sequence[float]) -> None:
    rows = []
    for objective, value in enumerate(values):
        stored, kind = TrialValueModel.value_to_stored_repr(value)
        rows.append({"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind})
    connection.execute(insert(trial_values).values(rows))


def insert_intermediate(connection: Connection, trial_id: int, values: Mapping[int, float]) -> None:
    rows = []
    for step, value in values.items():
        stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        rows.append(
            {
                "trial_id": trial_id,
                "step": step,
                "intermediate_value": stored,
                "intermediate_value_type": kind,
            }
        )
    if rows:
        connection.execute(insert(trial_intermediate_values), rows)


def insert_user_attributes(connection: Connection, trial_id: int, attributes: Mapping[str, Any]) -> None:
    if attributes:
        connection.execute(insert(trial_user_attributes).values(_attributes(trial_id, attributes)))


def insert_system_attributes(connection: Connection, trial_id: int, attributes: Mapping[str, Any]) -> None:
    if attributes:
        connection.execute(insert(trial_system_attributes).values(_attributes(trial_id, attributes)))


def _attributes(trial_id: int, attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attributes.items()
    ]


def read_values(connection: Connection, trial_id: int) -> tuple[float, ...]:
    rows = connection.execute(
        select(trial_values.c.value, trial_values.c.value_type)
        .where(trial_values.c.trial_id == trial_id)
        .order_by(trial_values.c.objective)
    )
    return tuple(TrialValueModel.stored_repr_to_value(row.value, row.value_type) for row in rows)


def read_params(connection: Connection, trial_id: int) -> dict[str, float]:
    """The parameters of a trial in Optuna's internal representation."""
    rows = connection.execute(
        select(trial_params.c.param_name, trial_params.c.param_value).where(
            trial_params.c.trial_id == trial_id
        )
    )
    return {row.param_name: row.param_value for row in rows}


def read_user_attribute(connection: Connection, trial_id: int, key: str) -> Any:
    """A user attribute's value, or None."""
    found = connection.execute(
        select(trial_user_attributes.c.value_json).where(
            trial_user_attributes.c.trial_id == trial_id, trial_user_attributes.c.key == key
        )
    ).scalar()
    return None if found is None else json.loads(found)
