"""Optuna's side of pruning: its own pruners, asked about a running trial and the study's other trials.

They are called with a study whose storage reads the database and writes nothing. This is the only module that
knows pruners. It must never end a trial.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.pruners._percentile import _get_percentile_intermediate_result_over_trials
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuned.domain.ending import Pruning
from tuned.experiment.pruners import Hyperband, Median, Percentile, Threshold
from tuned.storage.rungs import running_rungs

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from optuna.pruners import BasePruner

    from tuned.domain.study_status import StudyStatus
    from tuned.experiment.experiment import Experiment
    from tuned.experiment.pruners import Pruner
    from tuned.storage.database import Database
    from tuned.storage.history import History

#: If a trial reports faster than this can follow, only its last report of a round is judged.
MOST_SECONDS = 0.02

_MEDIAN = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A running trial, as its rule sees it."""

    trial_id: int
    number: int
    #: The reports that were judged before, by step.
    judged: Mapping[int, float]
    #: The steps and values that came since, the oldest first.
    new: Sequence[tuple[int, float]]
    #: The rungs that it has reached, by the names of Optuna's attributes.
    rungs: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The rule's word on a running trial."""

    #: None: it goes on.
    pruning: Pruning | None
    rungs: Mapping[str, float]


class PruningStudy:
    """The trials of one study, and the rules that look at one objective.

    Called in threads, by one at a time.
    """

    def __init__(
        self,
        database: Database,
        experiment: Experiment,
        status: StudyStatus,
        history: History,
        *,
        objective: int,
    ) -> None:
        self.history = history
        self._storage = _Storage(database, experiment, status, history, objective)
        self._study = optuna.load_study(study_name=experiment.name, storage=self._storage)
        self._rules: dict[Pruner, BasePruner] = {}

    def sync(self, pruner: Pruner) -> None:
        """Reads what is new in the database. Raises DatabaseAway."""
        deciding = pruner.deciding
        self._storage.sync(with_rungs=deciding is not None and deciding.has_rungs)

    def judge(self, pruner: Pruner, trial: Reported) -> Judgement:
        """Asks the rule about each new report, in their order, until it prunes one."""
        with warnings.catch_warnings():
            # Optuna warns of its experimental parts: the user did not choose them, and nobody reads it here.
            warnings.simplefilter("ignore")
            if pruner not in self._rules:
                self._rules[pruner] = optunas(pruner)
            frozen = self._storage.begin(trial)
            for step, value in _reveal(frozen, trial):
                if self._rules[pruner].prune(self._study, frozen):
                    return Judgement(
                        pruning=Pruning(
                            rule=pruner.name, step=step, value=value, bound=self._bound(pruner, frozen)
                        ),
                        rungs=self._storage.rungs_of(trial.trial_id),
                    )
            return Judgement(pruning=None, rungs=self._storage.rungs_of(trial.trial_id))

    def _bound(self, pruner: Pruner, trial: FrozenTrial) -> float | None:
        """The value that it missed; None if the rule has none that Optuna tells."""
        deciding, step = pruner.deciding, trial.last_step
        if isinstance(deciding, Threshold) and step is not None:
            is_below = deciding.lower is not None and trial.intermediate_values[step] < deciding.lower
            return deciding.lower if is_below else deciding.upper
        if not isinstance(deciding, Median | Percentile) or step is None:
            return None
        bound = _get_percentile_intermediate_result_over_trials(
            self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)),
            self._study.direction,
            step,
            deciding.percentile if isinstance(deciding, Percentile) else _MEDIAN,
            deciding.n_min_trials or 1,
        )
        return None if math.isnan(bound) else bound


def optunas(pruner: Pruner) -> BasePruner:
    """Optuna's pruner with the keywords of the file."""
    keywords: dict[str, Any] = dict(pruner.keywords)
    if pruner.deciding is not pruner:
        keywords["wrapped_pruner"] = None if pruner.deciding is None else optunas(pruner.deciding)
    made: BasePruner = getattr(optuna.pruners, pruner.class_name)(**keywords)
    return made


def brackets(study: optuna.Study, pruner: Pruner | None) -> BasePruner:
    """The pruner beside which a sampler draws: of Hyperband it learns only from trials of the same bracket.

    The bracket follows from the number of the trial. A draft has the number that comes next, and the trial
    that it becomes may get a later one.
    """
    if not isinstance(pruner, Hyperband):
        return optuna.pruners.NopPruner()
    made = optunas(pruner)
    # It makes its brackets when it is asked first.
    made.prune(study, optuna.trial.create_trial(state=TrialState.RUNNING))
    return made


def _reveal(frozen: FrozenTrial, trial: Reported) -> Iterator[tuple[int, float]]:
    """Shows the trial's new reports one after the other, as it would have asked after each of them."""
    began = time.monotonic()
    frozen.intermediate_values = dict(trial.judged)
    for place, (step, value) in enumerate(trial.new, 1):
        frozen.intermediate_values[step] = value
        if place == len(trial.new) or time.monotonic() - began < MOST_SECONDS:
            yield step, value


class _Storage(InMemoryStorage):
    """The part of a storage that a pruner needs, with one objective of the study.

    It keeps rungs in memory.
    """

    def __init__(
        self,
        database: Database,
        experiment: Experiment,
        status: StudyStatus,
        history: History,
        objective: int,
    ) -> None:
        super().__init__()
        self._database = database
        self._name = experiment.name
        self._id = status.study_id
        self._objective = objective
        self._directions = [StudyDirection[each.upper()] for each in experiment.directions]
        self._history = history
        #: Of running trials, by their ids.
        self._rungs: dict[int, dict[str, float]] = {}
        #: Of several objectives: finished trials with the one, by number, each with what it was made of.
        self._narrowed: dict[int, tuple[FrozenTrial, FrozenTrial]] = {}
        #: The COMPLETE ones, until the next sync.
        self._complete: list[FrozenTrial] | None = None

    def sync(self, *, with_rungs: bool) -> None:
        self._history.sync()
        self._complete = None
        running = {_id_of(trial) for trial in self._history.trials if not trial.state.is_finished()}
        found = running_rungs(self._database, self._id) if with_rungs else {}
        # Ours may not be in the database yet.
        self._rungs = {
            trial_id: {**found.get(trial_id, {}), **self._rungs.get(trial_id, {})}
            for trial_id in running | found.keys()
        }

    def begin(self, trial: Reported) -> FrozenTrial:
        self._rungs[trial.trial_id] = dict(trial.rungs)
        frozen = optuna.trial.create_trial(state=TrialState.RUNNING, system_attrs=dict(trial.rungs))
        frozen.number = trial.number
        frozen._trial_id = trial.trial_id  # noqa: SLF001 (as Optuna's own storages do)
        return frozen

    def rungs_of(self, trial_id: int) -> Mapping[str, float]:
        return dict(self._rungs[trial_id])

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._id

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [self._directions[self._objective]]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._rungs[trial_id][key] = value

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return BaseStorage.get_best_trial(self, study_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Without copies, because no pruner changes them.

        Of trials that have ended, they ask for COMPLETE ones only.
        """
        if states is None or TrialState.RUNNING in states:
            return self._seen()
        if self._complete is None:
            self._complete = [trial for trial in self._seen() if trial.state is TrialState.COMPLETE]
        return self._complete

    def _seen(self) -> list[FrozenTrial]:
        """All trials as the rule sees them."""
        return [self._view(trial) for trial in self._history.trials]

    def _view(self, trial: FrozenTrial) -> FrozenTrial:
        if not trial.state.is_finished():
            return _copy(trial, None, self._rungs.get(_id_of(trial), {}))
        if len(self._directions) == 1:
            return trial
        known, narrowed = self._narrowed.get(trial.number, (None, trial))
        if known is not trial:
            narrowed = _copy(trial, trial.values[self._objective] if trial.values else None, {})
            self._narrowed[trial.number] = trial, narrowed
        return narrowed


def _copy(trial: FrozenTrial, value: float | None, system_attrs: Mapping[str, Any]) -> FrozenTrial:
    return FrozenTrial(
        number=trial.number,
        state=trial.state,
        value=value,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        system_attrs={**trial.system_attrs, **system_attrs},
        intermediate_values=trial.intermediate_values,
        trial_id=_id_of(trial),
    )


def _id_of(trial: FrozenTrial) -> int:
    trial_id: int = trial._trial_id  # noqa: SLF001 (Optuna's storages have no other way)
    return trial_id
