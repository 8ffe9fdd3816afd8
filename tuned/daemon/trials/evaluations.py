"""Evaluations on this host: of a point that a slot has just claimed, or gone on with after an earlier daemon.

It must never begin one, or look at what else runs.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from tuned.daemon.trials.outputs import end_of
from tuned.experiment.experiment import defined
from tuned.trial.evaluation import Evaluation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tuned.daemon.teller import Teller
    from tuned.daemon.trials.premises import Premises
    from tuned.domain.claim import Claimed
    from tuned.domain.result import Result
    from tuned.experiment.experiment import Experiment
    from tuned.search.search import Search
    from tuned.trial.evaluation import Site
    from tuned.trial.keeping import Keeper
    from tuned.trial.progress import Progress


class Evaluations:
    """Belongs to the event loop's thread."""

    def __init__(
        self,
        site: Site,
        keeper: Keeper,
        teller: Teller,
        premises: Premises,
        placed: Callable[[Experiment], Experiment],
    ) -> None:
        """``placed`` makes of an experiment the one that its trials run by here: its code has a path."""
        self._site = site
        self._keeper = keeper
        self._teller = teller
        self._premises = premises
        self._placed = placed

    def of(self, search: Search, slot: int, claimed: Claimed, cards: tuple[str, ...]) -> Evaluation:
        """Before its first attempt, by the definition with which the point was claimed."""
        experiment = search.adoption.of(claimed.revision)
        definition = search.adoption.whole(claimed.revision)
        made = self._made(experiment, definition, search.status.uid, slot, claimed, cards)
        made.on_unforked = search.note_unforked
        return made

    def resumed(
        self, progress: Progress, slot: int, claimed: Claimed, notes: Mapping[str, object]
    ) -> Evaluation:
        """One that an earlier daemon began, by the definition with which it did."""
        experiment = defined(progress.definition, progress.experiment)
        study, cards = progress.study_uid, progress.cards
        made = self._made(experiment, progress.definition, study, slot, claimed, cards)
        made.go_on(progress, self._keeper.resume, notes)
        return made

    def hand_over(self, result: Result, evaluation: Evaluation) -> None:
        """Has the end of one told; the keeper remembers it until it is safe."""
        forget = functools.partial(self._keeper.forget, evaluation.key)
        find_output = functools.partial(end_of, evaluation.files.log, self._keeper.written)
        self._teller.put(result, forget, find_output)

    def _made(  # noqa: PLR0917 (the parts of an evaluation)
        self,
        experiment: Experiment,
        definition: str,
        study_uid: str,
        slot: int,
        claimed: Claimed,
        cards: tuple[str, ...],
    ) -> Evaluation:
        experiment = self._placed(experiment)
        return Evaluation(
            experiment=experiment,
            definition=definition,
            study_uid=study_uid,
            claimed=claimed,
            site=self._site,
            slot=slot,
            carry_out=self._keeper.run,
            verify=lambda: self._premises.verify(experiment, since=time.monotonic()),
            cards=cards,
            watched=0 if experiment.pruner is None else experiment.pruner.objective,
        )
