"""Trials that an earlier daemon of this host began and the keeper still has: each goes on here, or ends.

A trial is this host's to go on with if its claim was taken over as the host joined the fleet. It goes on once
its experiment is open again. This room must never let a run go on that the database has given up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from tuned.domain.ending import Cause, Failure
from tuned.errors import InvalidInput
from tuned.experiment.experiment import defined
from tuned.storage.encoding import Encoding
from tuned.trial.evaluation import evaluate
from tuned.trial.progress import Progress, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from structlog.typing import FilteringBoundLogger

    from tuned.domain.claim import Claimant, Claimed
    from tuned.domain.result import Result
    from tuned.search.search import Search
    from tuned.storage.trials.adoption import Adopted
    from tuned.trial.evaluation import Evaluation
    from tuned.trial.keeping import Keeper, Kept

_log: FilteringBoundLogger = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """A run that the keeper has, until its experiment is open."""

    kept: Kept
    progress: Progress
    #: As this host holds its claim now; None if it does not.
    adopted: Adopted | None = None


class Slots(Protocol):
    """The slots of this host."""

    def adopt(self, search: Search, progress: Progress, claimed: Claimed, kept: Kept) -> None: ...

    async def give_back(self, claimed: Claimed, failure: Failure) -> None: ...


class Resumed(Protocol):
    """The evaluations of this host."""

    def resumed(
        self, progress: Progress, slot: int, claimed: Claimed, notes: Mapping[str, object]
    ) -> Evaluation: ...

    def hand_over(self, result: Result, evaluation: Evaluation) -> None:
        """Has its end told."""


class Adoptions:
    """Belongs to the event loop's thread."""

    def __init__(self, keeper: Keeper, slots: Slots, evaluations: Resumed, host: str) -> None:
        self._keeper = keeper
        self._slots = slots
        self._evaluations = evaluations
        self._host = host
        #: By claim.
        self._waiting: dict[str, _Waiting] = {}
        self._claimant: Claimant | None = None

    @property
    def claims(self) -> set[str]:
        """Those of the runs that have found no slot yet."""
        return set(self._waiting)

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    async def look(self, safe: Collection[str]) -> None:
        """Finds out what the keeper has. The results of the ``safe`` claims are on disk here."""
        for kept in self._keeper.kept():
            progress = _understood(kept)
            if progress is None or progress.claim_id in safe:
                await self._keeper.end(kept.key)
                continue
            waiting = _Waiting(kept=kept, progress=progress)
            other = self._waiting.get(progress.claim_id)
            if other is not None:
                # The next attempt had begun when the daemon ended.
                waiting, older = sorted((other, waiting), key=_place, reverse=True)
                await self._keeper.end(older.kept.key)
            self._waiting[progress.claim_id] = waiting

    def take_over(self, adopted: Collection[Adopted], claimant: Claimant) -> None:
        """Takes note of the claims that this host has again as it joins the fleet, and of no others."""
        self._claimant = claimant
        for waiting in self._waiting.values():
            waiting.adopted = None
        for each in adopted:
            self._waiting[each.claim_id].adopted = each

    async def admit(self, search: Search) -> None:
        """Goes on with the trials of an experiment that has just been opened."""
        theirs = [each for each in self._waiting.values() if each.progress.study_uid == search.status.uid]
        # At once: whoever ends the experiment from now on must find in a slot what he is to kill.
        for waiting in theirs:
            if waiting.adopted is not None:
                self._go_on(search, waiting)
                self._waiting.pop(waiting.progress.claim_id, None)
        for waiting in theirs:
            if waiting.adopted is None:
                # Others have settled it: a result comes as late as that is.
                await self._has_told(waiting, "its host was taken for dead")
                self._waiting.pop(waiting.progress.claim_id, None)

    async def give_up(self, is_expected: Callable[[str], bool]) -> None:
        """Ends the trials whose experiments are not open here, and are not expected to be soon."""
        for claim_id, waiting in list(self._waiting.items()):
            if is_expected(waiting.progress.experiment):
                continue
            is_told = await self._has_told(waiting, "its experiment is not open here")
            if not is_told and waiting.adopted is not None and waiting.adopted.trial_id is not None:
                reason = "its experiment is not open on its host any more"
                failure = Failure(cause=Cause.ABORTED, message=reason)
                await self._slots.give_back(self._claimed(waiting), failure)
            self._waiting.pop(claim_id, None)

    def _go_on(self, search: Search, waiting: _Waiting) -> None:
        self._slots.adopt(search, waiting.progress, self._claimed(waiting), self._now(waiting))

    async def _has_told(self, waiting: _Waiting, why_not: str) -> bool:
        """Hands its result over if it has ended, as nothing more is begun for it; else kills it."""
        progress, key, now = waiting.progress, waiting.kept.key, self._now(waiting)
        log = _log.bind(experiment=progress.experiment, trial=progress.number)
        claimed = self._claimed(waiting)
        evaluation = self._evaluations.resumed(progress, progress.slot, claimed, now.notes)
        has_more = progress.replicate < evaluation.experiment.replicates.count
        if not now.has_ended or has_more:
            log.error("trial killed", reason=why_not)
            await self._keeper.end(key)
            return False
        try:
            # A task has log fields of its own.
            ending = await asyncio.create_task(evaluate(evaluation, _refused))
        except Exception as error:  # noqa: BLE001 (the edge of one trial)
            log.warning("no ending to be told", reason=str(error))
            self._keeper.forget(key)
            return False
        # Its study's space is the claim's.
        result = Encoding(evaluation.experiment.space).result(claimed, progress.study_uid, self._host, ending)
        self._evaluations.hand_over(result, evaluation)
        return True

    def _claimed(self, waiting: _Waiting) -> Claimed:
        """As the incarnation of now has it, if the claim was taken over."""
        assert self._claimant is not None
        incarnation, adopted = self._claimant.incarnation, waiting.adopted
        if adopted is None:
            return waiting.progress.claimed(incarnation)
        return waiting.progress.claimed(incarnation, trial_id=adopted.trial_id, number=adopted.number)

    def _now(self, waiting: _Waiting) -> Kept:
        """The last that is known, if its keeper has died since it was found."""
        known = waiting.kept
        return next((kept for kept in self._keeper.kept() if kept.key == known.key), known)


def _understood(kept: Kept) -> Progress | None:
    """None if it is no trial's, or cannot be gone on with."""
    if kept.context is None:
        return None
    try:
        progress = decode(kept.context)
        defined(progress.definition, progress.experiment)
    except (ValueError, InvalidInput) as error:
        _log.error("a trial of an earlier daemon cannot be adopted", key=kept.key, reason=str(error))
        return None
    return progress


def _place(waiting: _Waiting) -> tuple[int, int]:
    return waiting.progress.replicate, waiting.progress.attempt


async def _refused() -> bool:
    """Nothing more is begun for it."""
    return False
