"""The storage in which Optuna keeps a new trial as a draft, in memory, until its point is claimed.

This room owns the drafts. It must never write a trial: it reads the study's trials from the database, and
writes only the attributes that samplers keep with the study.
"""

from __future__ import annotations

import copy
import datetime as dt
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuned.domain.study_status import StudyStatus
from tuned.storage.studies import read_system_attributes, write_system_attribute
from tuned.storage.trials.enqueued import FIXED_PARAMS

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study._frozen import FrozenStudy

    from tuned.domain.space import Value
    from tuned.experiment.experiment import Experiment
    from tuned.storage.database import Database
    from tuned.storage.history import History

#: Ids of drafts begin here: above all that a database gives.
FIRST_DRAFT = 2**40


class DraftStorage(BaseStorage):
    """The part of a storage that Optuna needs to ask: drafts in memory, the rest read from the database."""

    def __init__(
        self, database: Database, experiment: Experiment, status: StudyStatus, history: History
    ) -> None:
        self._database = database
        self._name = experiment.name
        self._study_id = status.study_id
        self._directions = [StudyDirection[direction.upper()] for direction in experiment.directions]
        self._history = history
        self._ignores_trials = experiment.sampler.ignores_trials
        self._wants_alike = experiment.sampler.models_constraints
        self._is_synced = False
        self._fixed: Mapping[str, Value] = {}
        self._ids = itertools.count(FIRST_DRAFT)
        self._next_id = next(self._ids)
        self.drafts: dict[int, FrozenTrial] = {}

    def begin(self, fixed: Mapping[str, Value]) -> int:
        """Prepares for one ask and returns the id that its draft will have."""
        self._is_synced = False
        self._fixed = fixed
        self._next_id = next(self._ids)
        return self._next_id

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if not self._ignores_trials:
            # First: a sampler omits the trial that has the draft's number, because it takes it for the draft.
            self._sync()
        number = max([self._history.last_number, *(draft.number for draft in self.drafts.values())]) + 1
        draft = FrozenTrial(
            number=number,
            trial_id=self._next_id,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=dt.datetime.now(),  # noqa: DTZ005 (as Optuna shows times: local, without a zone)
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={FIXED_PARAMS: dict(self._fixed)} if self._fixed else {},
            intermediate_values={},
        )
        self.drafts[self._next_id] = draft
        return self._next_id

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,):
            # Enqueued trials are claimed like any other point, not popped by an ask.
            return []
        self._sync()
        known = self._history.trials
        trials = [*(_alike(known) if self._wants_alike else known), *self.drafts.values()]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self.drafts[trial_id]

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        draft = copy.copy(self.drafts[trial_id])
        draft.params = {**draft.params, param_name: distribution.to_external_repr(param_value_internal)}
        draft.distributions = {**draft.distributions, param_name: distribution}
        self.drafts[trial_id] = draft

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        draft = copy.copy(self.drafts[trial_id])
        draft.system_attrs = {**draft.system_attrs, key: value}
        self.drafts[trial_id] = draft

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        write_system_attribute(self._database, self._study_id, key, value)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return read_system_attributes(self._database, self._study_id)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._study_id

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def _sync(self) -> None:
        """Reads the history once for each ask."""
        if not self._is_synced:
            self._history.sync()
            self._is_synced = True

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        _refuse()

    def delete_study(self, study_id: int) -> None:
        _refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        _refuse()

    def get_all_studies(self) -> list[FrozenStudy]:
        _refuse()

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        _refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        _refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        _refuse()


def _alike(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials without those with values that have other constraints than most that have some."""
    names = {
        trial.number: frozenset(trial.constraints) for trial in trials if trial.state is TrialState.COMPLETE
    }
    count = Counter(names.values())
    usual = max(count, key=lambda each: (bool(each), count[each]), default=frozenset())
    return [trial for trial in trials if names.get(trial.number, usual) == usual]


def _refuse() -> NoReturn:
    raise NotImplementedError("a draft is drawn and claimed; nothing else is done with it")
