"""The trials of one study as a sampler sees them, read once and kept.

A finished trial never changes, so a sync never reads it again. It reads an unfinished trial when it appears,
when it begins to run and when it has ended. The cost of a sync depends on the number of new trials, not of
all.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Row, Select, Table, select

from tuned.storage.connection.faults import reason_of
from tuned.storage.tables.schema import (
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from tuned.storage.trials.trial_rows import (
    restored_attribute,
    restored_intermediate,
    restored_time,
    restored_value,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from structlog.typing import FilteringBoundLogger

    from tuned.storage.database import Database

_log: FilteringBoundLogger = structlog.get_logger()

T = TypeVar("T")

#: How many ids one statement has, because databases limit the number of parameters.
BATCH = 500

_UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


class History:
    """The trials of one study as Optuna's FrozenTrials, in the order of their numbers. Not thread-safe."""

    def __init__(self, database: Database, study_id: int) -> None:
        self._database = database
        self._study_id = study_id
        self._trials: dict[int, FrozenTrial] = {}
        self._unfinished: dict[int, TrialState] = {}
        self._last_id = -1
        self._distributions: dict[str, BaseDistribution] = {}

    @property
    def trials(self) -> list[FrozenTrial]:
        return list(self._trials.values())

    @property
    def last_number(self) -> int:
        """The highest number of a trial; -1 without trials."""
        return next(reversed(self._trials), -1)

    def sync(self) -> None:
        """Reads new and changed trials. Raises DatabaseAway."""
        with self._database.reading() as connection:
            # Trials get their ids under the study's lock, so no new id is below one already seen.
            new = connection.execute(
                select(trials)
                .where(trials.c.study_id == self._study_id, trials.c.trial_id > self._last_id)
                .order_by(trials.c.trial_id)
            ).all()
            for batch in _batches([*new, *self._changed(connection)]):
                self._read(connection, batch)

    def _changed(self, connection: Connection) -> list[Row[Any]]:
        """The trials that have ended, and those that were enqueued and run now."""
        changed: list[Row[Any]] = []
        for ids in _batches(sorted(self._unfinished)):
            waiting = [each for each in ids if self._unfinished[each] is TrialState.WAITING]
            runs_now = (trials.c.state == TrialState.RUNNING) & trials.c.trial_id.in_(waiting)
            changed += connection.execute(
                select(trials).where(
                    trials.c.trial_id.in_(ids), trials.c.state.not_in(_UNFINISHED) | runs_now
                )
            ).all()
        return changed

    def _read(self, connection: Connection, batch: list[Row[Any]]) -> None:
        ids = [row.trial_id for row in batch]
        values = _by_trial(connection, select(trial_values), trial_values, ids)
        intermediate = _by_trial(
            connection, select(trial_intermediate_values), trial_intermediate_values, ids
        )
        params = _by_trial(
            connection, select(trial_params).order_by(trial_params.c.param_id), trial_params, ids
        )
        user = _by_trial(connection, select(trial_user_attributes), trial_user_attributes, ids)
        system = _by_trial(connection, select(trial_system_attributes), trial_system_attributes, ids)
        for row in batch:
            self._last_id = max(self._last_id, row.trial_id)
            try:
                distributions = {
                    p.param_name: self._distribution(p.distribution_json) for p in params[row.trial_id]
                }
                trial = FrozenTrial(
                    number=row.number,
                    trial_id=row.trial_id,
                    state=row.state,
                    value=None,
                    values=_values(values[row.trial_id]),
                    datetime_start=_local(row.datetime_start),
                    datetime_complete=_local(row.datetime_complete),
                    params={
                        p.param_name: distributions[p.param_name].to_external_repr(p.param_value)
                        for p in params[row.trial_id]
                    },
                    distributions=distributions,
                    user_attrs=_attributes(user[row.trial_id]),
                    system_attrs=_attributes(system[row.trial_id]),
                    intermediate_values=_intermediate(intermediate[row.trial_id]),
                )
            except Exception as error:  # noqa: BLE001 (Optuna raises anything for a row that a person changed)
                # A search is worth more than one trial of its history.
                _log.warning("trial left out of the history", trial=row.number, reason=reason_of(error))
                self._unfinished.pop(row.trial_id, None)
            else:
                self._keep(trial)

    def _keep(self, trial: FrozenTrial) -> None:
        trial_id: int = trial._trial_id  # noqa: SLF001 (Optuna's storages have no other way)
        self._trials[trial.number] = trial
        if trial.state.is_finished():
            self._unfinished.pop(trial_id, None)
        else:
            self._unfinished[trial_id] = trial.state

    def _distribution(self, text: str) -> BaseDistribution:
        if text not in self._distributions:
            self._distributions[text] = json_to_distribution(text)
        return self._distributions[text]


def _batches(items: list[T]) -> Iterable[list[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _by_trial(
    connection: Connection, query: Select[Any], table: Table, ids: Collection[int]
) -> dict[int, list[Row[Any]]]:
    grouped: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(query.where(table.c.trial_id.in_(ids))):
        grouped[row.trial_id].append(row)
    return grouped


def _values(rows: list[Row[Any]]) -> list[float] | None:
    ordered = sorted(rows, key=lambda row: row.objective)
    return [restored_value(row) for row in ordered] or None


def _intermediate(rows: list[Row[Any]]) -> dict[int, float]:
    return {row.step: restored_intermediate(row) for row in rows}


def _attributes(rows: list[Row[Any]]) -> dict[str, Any]:
    return {row.key: restored_attribute(row.value_json) for row in rows}


def _local(time: dt.datetime | None) -> dt.datetime | None:
    """As Optuna shows times: local, without a zone."""
    return None if time is None else restored_time(time).astimezone().replace(tzinfo=None)
