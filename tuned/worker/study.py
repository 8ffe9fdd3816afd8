"""The study that an objective sees as ``trial.study``: its name and directions, and facts that are asked for.

It changes nothing but one thing: ``stop`` ends the search. Whatever else Optuna's studies have raises an
error that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuned.domain.conditions import Condition
from tuned.domain.constraints import attributes
from tuned.domain.space import Parameter
from tuned.worker.channel import Channel, KnownTrial, StudyFacts
from tuned.worker.distributions import distributions


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """The part of an experiment that its trials need."""

    space: Mapping[str, Parameter]
    #: Of the parameters that exist only if theirs holds.
    conditions: Mapping[str, Condition]
    #: Each minimize or maximize.
    directions: Sequence[str]


class WorkerStudy:
    """One study, as far as a trial of it may look."""

    def __init__(self, name: str, definition: Definition, channel: Channel) -> None:
        self.study_name = name
        self.directions = [StudyDirection[each.upper()] for each in definition.directions]
        self._space = definition.space
        self._channel = channel

    @property
    def direction(self) -> StudyDirection:
        """Raises RuntimeError if there are several."""
        return self.directions[self._only("direction", "directions")]

    @property
    def user_attrs(self) -> dict[str, Any]:
        return self._facts["user_attrs"]

    @property
    def best_trials(self) -> list[FrozenTrial]:
        """The front; with one objective the best trial."""
        return [self._frozen(each) for each in self._facts["best"]]

    @property
    def best_trial(self) -> FrozenTrial:
        """Raises ValueError while no trial with a value is feasible, RuntimeError with several objectives."""
        self._only("best_trial", "best_trials")
        if not self._facts["best"]:
            raise ValueError("No feasible trials are completed yet.")
        return self.best_trials[0]

    @property
    def best_value(self) -> float:
        """As ``best_trial``."""
        value = self.best_trial.value
        assert value is not None
        return value

    @property
    def best_params(self) -> dict[str, Any]:
        """As ``best_trial``."""
        return self.best_trial.params

    def stop(self) -> None:
        """Ends the search once this trial has ended: running ones end, and none begins any more."""
        self._channel.tell({"stop": True})

    def __getattr__(self, name: str) -> NoReturn:
        raise missing("trial.study", name)

    @cached_property
    def _facts(self) -> StudyFacts:
        """Asked for once, and only by those who want to know."""
        return self._channel.ask()

    def _only(self, name: str, instead: str) -> int:
        """The index of the one objective."""
        if len(self.directions) > 1:
            raise RuntimeError(
                f"trial.study.{name} is for one objective, and this study has several: use {instead}"
            )
        return 0

    def _frozen(self, known: KnownTrial) -> FrozenTrial:
        params = known["params"]
        return FrozenTrial(
            number=known["number"],
            trial_id=known["number"],
            state=TrialState.COMPLETE,
            value=None,
            values=known["values"],
            datetime_start=None,
            datetime_complete=None,
            params=params,
            distributions=distributions(each for each in self._space.values() if each.name in params),
            user_attrs=known["user_attrs"],
            system_attrs=attributes(known["constraints"]),
            intermediate_values={},
        )


def missing(what: str, name: str) -> AttributeError:
    """The error for a part of Optuna's objects that no trial has here."""
    return AttributeError(
        f"{what} has no {name!r} when tuned runs the objective: "
        "see Python objectives in tuned's reference of trials for what it has"
    )
