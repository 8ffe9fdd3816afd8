"""Optuna's FrozenTrials: from the rows of the database, and from what this host itself claimed and told.

Both ways give the same trial, field by field. This room must never ask the database.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from tuned.storage.trials.trial_rows import (
    restored_attribute,
    restored_attributes,
    restored_intermediate,
    restored_time,
    restored_value,
    stored_attribute,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Row

    from tuned.domain.ending import Ending
    from tuned.domain.result import Beginning


class _Param(Protocol):
    """A row of ``trial_params``, or the same as this host wrote it."""

    @property
    def param_name(self) -> str: ...
    @property
    def param_value(self) -> float: ...
    @property
    def distribution_json(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """The rows of one trial in the tables beside ``trials``."""

    values: list[Row[Any]] = field(default_factory=list)
    intermediate: list[Row[Any]] = field(default_factory=list)
    #: In the order in which they were written.
    params: list[Row[Any]] = field(default_factory=list)
    user: list[Row[Any]] = field(default_factory=list)
    system: list[Row[Any]] = field(default_factory=list)


class KnownTrial(FrozenTrial):
    """A trial at which samplers look again with each draw: what they work out of it is worked out once.

    It is equal to the same trial of Optuna's own, because what is added is in slots.
    """

    __slots__ = ("_constraints", "internal")

    def __init__(self, *, internal: Mapping[str, float], **parts: Any) -> None:
        """``internal``: the values of its parameters as Optuna's ``to_internal_repr`` has them, by name."""
        super().__init__(**parts)
        self.internal = internal
        self.note_constraints()

    @property
    def constraints(self) -> dict[str, float]:
        return self._constraints

    def note_constraints(self) -> None:
        """Its attributes have changed."""
        self._constraints = super().constraints


def restored(row: Row[Any], details: Details) -> KnownTrial:
    """The trial that these rows say. Raises whatever Optuna raises for a row that a person changed."""
    values = sorted(details.values, key=lambda each: each.objective)
    return _frozen(
        row,
        details.params,
        values=[restored_value(each) for each in values] or None,
        intermediate_values={each.step: restored_intermediate(each) for each in details.intermediate},
        user_attrs={each.key: restored_attribute(each.value_json) for each in details.user},
        system_attrs=_ordered({each.key: restored_attribute(each.value_json) for each in details.system}),
    )


def begun(row: Row[Any], beginning: Beginning, host: str) -> KnownTrial:
    """The trial of a claim of this host as the claim wrote it; only its row in ``trials`` was read."""
    return _frozen(
        row,
        beginning.params,
        values=None,
        intermediate_values={},
        user_attrs={"HOST": {"host": host}},
        system_attrs=restored_attributes(beginning.attributes),
    )


def ended(running: KnownTrial, ending: Ending, time: dt.datetime, objectives: int) -> KnownTrial:
    """A RUNNING trial of this host as a tell ends it, at this time in UTC."""
    trial = copy.copy(running)
    attributes = {key: stored_attribute(value) for key, value in ending.attributes.items()}
    trial.state = TrialState[ending.state]
    trial.values = None if ending.values is None else list(ending.values)
    trial.datetime_complete = _local(time)
    trial.intermediate_values = ending.kept_reports(objectives)
    trial.user_attrs = {**running.user_attrs, **restored_attributes({**attributes, **ending.user_attrs})}
    trial.system_attrs = _ordered({**running.system_attrs, **ending.system_attributes})
    trial.note_constraints()
    return trial


def _ordered(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Samplers take the constraints of all trials to be in one order."""
    return dict(sorted(attributes.items()))


def _frozen(row: Row[Any], params: Iterable[_Param], **details: Any) -> KnownTrial:
    distributions = {each.param_name: _distribution(each.distribution_json) for each in params}
    return KnownTrial(
        internal={each.param_name: each.param_value for each in params},
        number=row.number,
        trial_id=row.trial_id,
        state=row.state,
        value=None,
        datetime_start=_local(row.datetime_start),
        datetime_complete=_local(row.datetime_complete),
        params={
            each.param_name: distributions[each.param_name].to_external_repr(each.param_value)
            for each in params
        },
        distributions=distributions,
        **details,
    )


@functools.lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


def _local(time: dt.datetime | None) -> dt.datetime | None:
    """As Optuna shows times: local, without a zone."""
    return None if time is None else restored_time(time).astimezone().replace(tzinfo=None)
