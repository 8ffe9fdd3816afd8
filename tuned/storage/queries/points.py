"""The trials with values of a study, for charts: read once, and afterwards only those that are new.

It only reads. A trial that is COMPLETE does not change any more, so that it need not be read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import TrialState
from sqlalchemy import select

from tuned.storage.queries.trials import BATCH, grouped
from tuned.storage.tables.schema import trial_params, trial_values, trials
from tuned.storage.trials.trial_rows import restored_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from tuned.protocol.fields import Value
    from tuned.storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """One COMPLETE trial."""

    number: int
    values: tuple[float, ...]
    params: Mapping[str, Value]
    distributions: Mapping[str, BaseDistribution]


def evaluated(database: Database, study_id: int, known: Iterable[int]) -> dict[int, Evaluated]:
    """Those whose ids are not ``known``, by id, in the order of their numbers. Raises DatabaseAway."""
    complete = select(trials.c.trial_id, trials.c.number).where(
        trials.c.study_id == study_id, trials.c.state == TrialState.COMPLETE
    )
    seen = set(known)
    with database.reading() as connection:
        found = connection.execute(complete.order_by(trials.c.trial_id)).all()
        numbers = {row.trial_id: row.number for row in found if row.trial_id not in seen}
        ids = list(numbers)
        new: dict[int, Evaluated] = {}
        restored = cache(json_to_distribution)
        for start in range(0, len(ids), BATCH):
            new |= _read(connection, ids[start : start + BATCH], numbers, restored)
    return new


def _read(
    connection: Connection, ids: Sequence[int], numbers: Mapping[int, int], restored: _Restored
) -> dict[int, Evaluated]:
    values = grouped(connection, select(trial_values).order_by(trial_values.c.objective), ids)
    params = grouped(connection, select(trial_params).order_by(trial_params.c.param_id), ids)
    new = {}
    for trial_id in ids:
        ranges = {row.param_name: restored(row.distribution_json) for row in params[trial_id]}
        new[trial_id] = Evaluated(
            number=numbers[trial_id],
            values=tuple(restored_value(row) for row in values[trial_id]),
            params={
                row.param_name: ranges[row.param_name].to_external_repr(row.param_value)
                for row in params[trial_id]
            },
            distributions=ranges,
        )
    return new


if TYPE_CHECKING:
    from collections.abc import Callable

    _Restored = Callable[[str], BaseDistribution]
