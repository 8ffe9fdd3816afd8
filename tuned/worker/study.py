"""The study that an objective sees as ``trial.study``: its name and directions, and facts that are asked for.

It changes nothing but one thing: ``stop`` ends the search. Whatever else Optuna's studies have raises an
error that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from tuned.domain.constraints import attributes
from tuned.worker.channel import Channel, KnownTrial, StudyFacts
from tuned.worker.declared import Declared
from tuned.worker.library import optuna


@dataclass(frozen=True)
class Definition:
    """The part of an experiment that its trials need."""

    space: Mapping[str, Declared]
    #: Each minimize or maximize.
    directions: Sequence[str]


class WorkerStudy:
    """One study, as far as a trial of it may look."""

    def __init__(self, name: str, definition: Definition, channel: Channel) -> None:
        self.study_name = name
        self._definition = definition
        self._channel = channel

    @property
    def directions(self) -> list[Any]:
        directions = optuna("study").StudyDirection
        return [directions[each.upper()] for each in self._definition.directions]

    @property
    def direction(self) -> Any:
        """Raises RuntimeError if there are several."""
        self._require_one("direction", "directions")
        return self.directions[0]

    @property
    def user_attrs(self) -> dict[str, Any]:
        return self._facts["user_attrs"]

    @property
    def best_trials(self) -> list[Any]:
        """The front; with one objective the best trial."""
        return [self._frozen(each) for each in self._facts["best"]]

    @property
    def best_trial(self) -> Any:
        """Raises ValueError while no trial with a value is feasible, RuntimeError with several objectives."""
        return self._frozen(self._best("best_trial"))

    @property
    def best_value(self) -> float:
        """As ``best_trial``."""
        return self._best("best_value")["values"][0]

    @property
    def best_params(self) -> dict[str, Any]:
        """As ``best_trial``."""
        return self._best("best_params")["params"]

    def stop(self) -> None:
        """Ends the search once this trial has ended: running ones end, and none begins any more."""
        self._channel.tell({"stop": True})

    def __getattr__(self, name: str) -> NoReturn:
        raise missing("trial.study", name)

    @cached_property
    def _facts(self) -> StudyFacts:
        """Asked for once, and only by those who want to know."""
        return self._channel.ask()

    def _best(self, name: str) -> KnownTrial:
        self._require_one(name, "best_trials")
        if not self._facts["best"]:
            raise ValueError("No feasible trials are completed yet.")
        return self._facts["best"][0]

    def _require_one(self, name: str, instead: str) -> None:
        if len(self._definition.directions) > 1:
            raise RuntimeError(
                f"trial.study.{name} is for one objective, and this study has several: use {instead}"
            )

    def _frozen(self, known: KnownTrial) -> Any:
        trials, space = optuna("trial"), self._definition.space
        return trials.FrozenTrial(
            number=known["number"],
            trial_id=known["number"],
            state=trials.TrialState.COMPLETE,
            value=None,
            values=known["values"],
            datetime_start=None,
            datetime_complete=None,
            params=known["params"],
            distributions={name: space[name].distribution() for name in space if name in known["params"]},
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
