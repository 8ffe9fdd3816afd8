"""Optuna's side: a study whose trials exist only as drafts until they are claimed.

``PointSource.draw`` lets Optuna's ``study.ask`` run whole against a storage that keeps the new trial in
memory and reads the rest from the history. It writes only the attributes that samplers keep with the study.
This module, ``suggestions`` and ``tpe`` are the only ones that know samplers.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import time
import warnings
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna

from tuned.domain.claim import Candidate, Claimant, Origin
from tuned.domain.space import Forbidden
from tuned.domain.study_status import StudyStatus
from tuned.search.draft_storage import DraftStorage
from tuned.search.pruning import brackets
from tuned.search.suggestions import Apart, suggest
from tuned.search.tpe import Tpe
from tuned.storage.history import History
from tuned.storage.trials.enqueued import FIXED_PARAMS, Misfit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.samplers import BaseSampler

    from tuned.domain.space import Point, Value
    from tuned.experiment.experiment import Experiment
    from tuned.experiment.pruners import Pruner
    from tuned.storage.database import Database
    from tuned.storage.encoding import Encoding

#: After so many forbidden points in a row a random one that is allowed is taken instead.
MOST_FORBIDDEN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A drawn point that other draws see as RUNNING until it is released."""

    draft_id: int
    candidate: Candidate
    #: How long the draw took.
    seconds: float = 0.0


class PointSource:
    """Draws points for one experiment, one at a time, in threads. Its other methods wait for no draw."""

    def __init__(
        self,
        database: Database,
        experiment: Experiment,
        encoding: Encoding,
        status: StudyStatus,
        claimant: Claimant,
    ) -> None:
        #: It draws for this incarnation of the host.
        self.claimant = claimant
        self._encoding = encoding
        #: Held for as long as a draw takes.
        self._lock = threading.Lock()
        #: Drafts that the next draw is not to see.
        self._released: deque[int] = deque()
        #: Whether the values of earlier trials make a difference to the next draw.
        self.learns = experiment.sampler.learns
        stream = _stream_seed(status.seed, claimant)
        self._random = random.Random(stream)  # noqa: S311 (a reproducible search, not a secret)
        #: The trials of the study that the sampler knows.
        self.history = History(database, status.study_id, objectives=len(experiment.directions))
        self._storage = DraftStorage(database, experiment, status, self.history)
        sampler = _sampler(experiment, status.seed, stream)
        self._study = None
        if sampler is not None:
            self._study = optuna.load_study(
                study_name=experiment.name, storage=self._storage, sampler=sampler
            )
        #: It may tell the sampler which trials to learn from.
        self._pruner: Pruner | None = None
        self._pruner_now = experiment.pruner

    @property
    def samples(self) -> bool:
        """False if the space is walked instead."""
        return self._study is not None

    def draw(self) -> Draft:
        """Asks the sampler for a point. Raises DatabaseAway, and whatever the sampler raises."""
        assert self._study is not None
        return self._ask(self._study, {}, Origin.SAMPLER, None)

    def complete(self, fixed: Mapping[str, Value], waiting_trial: int) -> Draft:
        """The point of an enqueued trial; the sampler adds the parameters that it does not fix.

        Raises Misfit if the fixed ones do not fit the space, and whatever the sampler raises.
        """
        space = self._encoding.space
        try:
            if self._study is None:
                # A grid is walked, so nobody adds what is missing.
                candidate = Candidate(
                    point=space.point(fixed), origin=Origin.ENQUEUED, waiting_trial=waiting_trial
                )
                return Draft(draft_id=0, candidate=candidate)
            # Optuna gets only values that fit: it takes some others, and raises anything for the rest.
            fitting = space.part(fixed)
        except ValueError as error:
            raise Misfit(str(error)) from None
        return self._ask(self._study, fitting, Origin.ENQUEUED, waiting_trial)

    def uniform(self) -> Candidate:
        """A uniformly random point, for a space that cannot be walked."""
        return Candidate(point=self._encoding.space.uniform(self._random), origin=Origin.WALK)

    def follow(self, pruner: Pruner | None) -> None:
        """Draws beside this pruner from now on."""
        self._pruner_now = pruner

    def release(self, draft: Draft) -> None:
        """Forgets a draft once it was claimed or dropped."""
        self._released.append(draft.draft_id)

    def _ask(
        self, study: optuna.Study, fixed: Mapping[str, Value], origin: Origin, waiting_trial: int | None
    ) -> Draft:
        with self._lock, warnings.catch_warnings():
            # Optuna warns of its experimental parts: the user did not choose them, and nobody reads it here.
            warnings.simplefilter("ignore")
            began = time.monotonic()
            while self._released:
                self._storage.drafts.pop(self._released.popleft(), None)
            if self._pruner != self._pruner_now:
                self._pruner = self._pruner_now
                study.pruner = brackets(study, self._pruner)
            for _ in range(MOST_FORBIDDEN):
                with contextlib.suppress(Forbidden):
                    draft_id, point = self._suggested(study, fixed)
                    break
            else:
                # The sampler does not learn what is forbidden, so it would go on like this.
                draft_id, point = self._suggested(study, self._allowed(fixed).values)
                origin = Origin.WALK if waiting_trial is None else origin
            written = self._storage.drafts[draft_id].system_attrs
        attributes = {key: value for key, value in written.items() if key != FIXED_PARAMS}
        candidate = Candidate(point=point, origin=origin, attributes=attributes, waiting_trial=waiting_trial)
        return Draft(draft_id=draft_id, candidate=candidate, seconds=time.monotonic() - began)

    def _suggested(self, study: optuna.Study, fixed: Mapping[str, Value]) -> tuple[int, Point]:
        """The id and the point of a new draft. Raises Forbidden, and leaves no draft, if it is no point."""
        draft_id = self._storage.begin(fixed)
        try:
            suggest(study, self._encoding)
            point = self._encoding.space.point(self._storage.drafts[draft_id].params)
            _must_have(point, fixed)
        except BaseException:
            self._storage.drafts.pop(draft_id, None)
            raise
        return draft_id, point

    def _allowed(self, fixed: Mapping[str, Value]) -> Point:
        """A random point with these values."""
        space = self._encoding.space
        return space.completed(fixed, self._random) if fixed else space.uniform(self._random)


def _must_have(point: Point, fixed: Mapping[str, Value]) -> None:
    if absent := fixed.keys() - point.values.keys():
        raise Forbidden(f"the sampler drew a point without {', '.join(absent)}")


def _stream_seed(seed: int, claimant: Claimant) -> int:
    """Differs between hosts and restarts, so that they do not replay each other's draws."""
    text = f"{seed}:{claimant.host}:{claimant.incarnation}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")


def _sampler(experiment: Experiment, seed: int, stream: int) -> BaseSampler | None:
    """The experiment's sampler; None if its space is walked instead."""
    given = experiment.sampler
    if given.class_name is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {"seed": stream, **given.options_for(experiment.space)}
        if given.shares_seed:
            # Quasi-random points only spread evenly if all hosts take them from one sequence. Points beside
            # the sequence, such as the first, must differ between hosts.
            options |= {"seed": seed, "independent_sampler": optuna.samplers.RandomSampler(stream)}
        sampler_class = (
            Tpe if given.class_name == "TPESampler" else getattr(optuna.samplers, given.class_name)
        )
        sampler: BaseSampler = sampler_class(**options)
    conditions = experiment.space.conditions
    if conditions and given.for_conditions is None:
        common = {parameter.name for parameter in experiment.space.parameters} - conditions.keys()
        return Apart(sampler, common)
    return sampler
