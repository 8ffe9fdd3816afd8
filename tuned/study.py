"""Optuna's side: a study whose trials exist only as drafts until they are claimed.

``Drawer.draw`` lets Optuna's ``study.ask`` run whole against a storage that keeps the new trial in
memory and reads the rest from the history. Nothing is written but what samplers keep with the study.
This is the only module that knows samplers.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import random
import threading
import time
import warnings
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuned import samplers
from tuned.claims import Candidate, Holder, Origin
from tuned.enqueued import FIXED_PARAMS
from tuned.history import History
from tuned.studies import Standing, read_system_attributes, write_system_attribute

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study._frozen import FrozenStudy

    from tuned.database import Database
    from tuned.encoding import Encoding
    from tuned.experiment import Experiment
    from tuned.space import Value

#: Ids of drafts begin here: above all that a database gives.
FIRST_DRAFT = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A drawn point that other draws see as RUNNING until it is released."""

    draft_id: int
    candidate: Candidate
    #: What the draw took.
    seconds: float = 0.0


class Drawer:
    """Draws points for one experiment, one at a time, in threads. What else it does waits for no draw."""

    def __init__(
        self,
        database: Database,
        experiment: Experiment,
        encoding: Encoding,
        standing: Standing,
        holder: Holder,
    ) -> None:
        self._encoding = encoding
        #: Held for as long as a draw takes.
        self._lock = threading.Lock()
        #: Drafts that the next draw is not to see.
        self._released: deque[int] = deque()
        stream = _stream_seed(standing.seed, holder)
        self._random = random.Random(stream)  # noqa: S311 (a reproducible search, not a secret)
        self._storage = _DraftStorage(database, experiment, standing)
        sampler = _sampler(experiment, standing.seed, stream)
        self._study = None
        if sampler is not None:
            self._study = optuna.load_study(
                study_name=experiment.name, storage=self._storage, sampler=sampler
            )

    @property
    def samples(self) -> bool:
        """False if the space is walked instead."""
        return self._study is not None

    @property
    def learns(self) -> bool:
        """Whether what was found before makes a difference to what is drawn."""
        return not self._storage.ignores_trials

    def draw(self) -> Draft:
        """Asks the sampler for a point. Raises DatabaseAway."""
        return self._ask({}, Origin.SAMPLER, None)

    def complete(self, fixed: Mapping[str, Value], waiting_trial: int) -> Draft:
        """The point of an enqueued trial; the sampler adds the parameters that it does not fix.

        Raises ValueError if the fixed ones do not fit the space.
        """
        return self._ask(fixed, Origin.ENQUEUED, waiting_trial)

    def uniform(self) -> Candidate:
        """A uniformly random point, for a space that cannot be walked."""
        return Candidate(point=self._encoding.space.uniform(self._random), origin=Origin.WALK)

    def release(self, draft: Draft) -> None:
        """Forgets a draft once it was claimed or dropped."""
        self._released.append(draft.draft_id)

    def _ask(self, fixed: Mapping[str, Value], origin: Origin, waiting_trial: int | None) -> Draft:
        study = self._study
        if study is None:
            # A grid is walked; only an enqueued trial can come here, and it must be complete.
            point = self._encoding.space.point(fixed)
            return Draft(
                draft_id=0, candidate=Candidate(point=point, origin=origin, waiting_trial=waiting_trial)
            )
        with self._lock, warnings.catch_warnings():
            # What Optuna calls experimental is not the user's doing, and nobody reads it here.
            warnings.simplefilter("ignore")
            began = time.monotonic()
            while self._released:
                self._storage.drafts.pop(self._released.popleft(), None)
            before = self._storage.begin(fixed)
            try:
                study.ask(fixed_distributions=self._encoding.distributions)
                drawn = self._storage.drafts[before]
                point = self._encoding.space.point(drawn.params)
            except BaseException:
                self._storage.drafts.pop(before, None)
                raise
        attributes = {key: value for key, value in drawn.system_attrs.items() if key != FIXED_PARAMS}
        candidate = Candidate(point=point, origin=origin, attributes=attributes, waiting_trial=waiting_trial)
        return Draft(draft_id=before, candidate=candidate, seconds=time.monotonic() - began)


def _stream_seed(seed: int, holder: Holder) -> int:
    """Differs between hosts and restarts, so that they do not replay each other's draws."""
    text = f"{seed}:{holder.host}:{holder.incarnation}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")


def _sampler(experiment: Experiment, seed: int, stream: int) -> BaseSampler | None:
    """The experiment's sampler; None if its space is walked instead."""
    entry = samplers.SAMPLERS[experiment.sampler.name]
    if entry.class_name is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {"seed": stream, **experiment.sampler.options}
        if entry.shares_seed:
            # Quasi-random points only spread evenly when all hosts take them from one sequence. What is drawn
            # beside it, such as the first point, must not be the same everywhere.
            options |= {"seed": seed, "independent_sampler": optuna.samplers.RandomSampler(stream)}
        sampler: BaseSampler = getattr(optuna.samplers, entry.class_name)(**options)
    return sampler


class _DraftStorage(BaseStorage):
    """What Optuna needs of a storage to ask: drafts in memory, the rest read from the database."""

    def __init__(self, database: Database, experiment: Experiment, standing: Standing) -> None:
        self._database = database
        self._name = experiment.name
        self._study_id = standing.study_id
        self._directions = [StudyDirection[direction.upper()] for direction in experiment.directions]
        self._history = History(database, standing.study_id)
        self.ignores_trials = samplers.SAMPLERS[experiment.sampler.name].ignores_trials
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
        if not self.ignores_trials:
            # First: samplers leave out the trial that has the draft's number, taking it for the draft.
            self._sync()
        number = max([self._history.last_number, *(draft.number for draft in self.drafts.values())]) + 1
        draft = optuna.trial.create_trial(
            state=TrialState.RUNNING, system_attrs={FIXED_PARAMS: dict(self._fixed)} if self._fixed else {}
        )
        draft.number = number
        draft._trial_id = self._next_id  # noqa: SLF001 (as Optuna's own storages do)
        self.drafts[self._next_id] = draft
        return self._next_id

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,):
            # Enqueued trials are claimed like any other point, not popped by an ask.
            return []
        self._sync()
        trials = self._history.trials + list(self.drafts.values())
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
        """Once for each ask."""
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


def _refuse() -> NoReturn:
    raise NotImplementedError("a draft is drawn and claimed; nothing else is done with it")
