"""A study in memory, made of the trials that the control socket exports.

Optuna's plots take a study, and whoever plots need not be allowed to read the database.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from optuna.trial import FrozenTrial, TrialState

from tuned.domain.constraints import PREFIX
from tuned.errors import TunedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.protocol.fields import Value
    from tuned.protocol.tables import DistributionView, ExportedTrial, ExportView


def study_of(name: str, export: ExportView) -> optuna.Study:
    """The study of all exported trials. Raises TunedError if a value is in no range of its parameter."""
    study = optuna.create_study(study_name=name, directions=export["directions"])
    ranges = _ranges(export["distributions"])
    study.add_trials([_trial(each, ranges) for each in export["trials"]])
    return study


def _ranges(distributions: Sequence[DistributionView]) -> dict[str, list[BaseDistribution]]:
    found: dict[str, list[BaseDistribution]] = {}
    for each in distributions:
        found.setdefault(each["name"], []).append(json_to_distribution(each["distribution"]))
    return found


def _trial(row: ExportedTrial, ranges: dict[str, list[BaseDistribution]]) -> FrozenTrial:
    params = row["params"]
    started, ended = _moment(row["started"]), _moment(row["ended"])
    state = TrialState[row["state"]]
    constraints = {PREFIX + name: float(value) for name, value in row["constraints"].items()}
    return FrozenTrial(
        number=row["number"],
        # Of the study in memory.
        trial_id=row["number"],
        state=state,
        value=None,
        values=[float(each) for each in row["values"]] if row["values"] else None,
        datetime_start=started,
        datetime_complete=ended if state.is_finished() else None,
        params=params,
        distributions={name: _range_of(name, value, ranges.get(name, ())) for name, value in params.items()},
        user_attrs={name: json.loads(text) for name, text in row.get("user_attrs", {}).items()},
        system_attrs=constraints,
        intermediate_values={each["step"]: float(each["value"]) for each in row.get("reports", ())},
    )


def _range_of(name: str, value: Value, ranges: Sequence[BaseDistribution]) -> BaseDistribution:
    """The last of the ranges that has the value."""
    for distribution in reversed(ranges):
        if _has(distribution, value):
            return distribution
    raise TunedError(f"found {name} = {value!r}, expected a value in one of its ranges")


def _has(distribution: BaseDistribution, value: Value) -> bool:
    match distribution:
        case CategoricalDistribution():
            return value in distribution.choices
        case FloatDistribution() | IntDistribution() if isinstance(value, int | float):
            return distribution.low <= value <= distribution.high
        case _:
            return False


def _moment(text: str | None) -> dt.datetime | None:
    """In local time without a zone, as Optuna keeps it."""
    return None if text is None else dt.datetime.fromisoformat(text).astimezone().replace(tzinfo=None)
