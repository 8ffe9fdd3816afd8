"""Trials that an earlier daemon of this host began and the keeper still has: each goes on here, or ends.

A trial is this host's to go on with if its claim was taken over as the host joined the fleet. It goes on once
its experiment is open again. This room must never let a run go on that the database has given up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from tuned.trial.evaluation import evaluate
from tuned.trial.progress import Progress, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

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

    def evaluation(
        self, slot: int, search: Search, claimed: Claimed, cards: tuple[str, ...]
    ) -> Evaluation: ...

    def adopt(self, search: Search, progress: Progress, claimed: Claimed, seconds: float) -> None: ...

    async def give_back(self, claimed: Claimed, reason: str) -> None: ...


class Teller(Protocol):
    """The way of a result to the database."""

    def put(self, result: Result, on_safe: Callable[[], object]) -> None: ...


class Adoptions:
    """Belongs to the event loop's thread."""

    def __init__(self, keeper: Keeper, slots: Slots, teller: Teller, host: str) -> None:
        self._keeper = keeper
        self._slots = slots
        self._teller = teller
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
        for claim_id, waiting in list(self._waiting.items()):
            if waiting.progress.study_uid != search.status.uid:
                continue
            # First, so that it is never in no place that says who has it.
            if waiting.adopted is not None:
                self._go_on(search, waiting, waiting.adopted)
            else:
                await self._end_late(search, waiting)
            self._waiting.pop(claim_id, None)

    async def give_up(self, is_expected: Callable[[str], bool]) -> None:
        """Ends the trials whose experiments are not open here, and are not expected to be soon."""
        for claim_id, waiting in list(self._waiting.items()):
            progress = waiting.progress
            if is_expected(progress.experiment):
                continue
            _log.warning(
                "trial killed: its experiment is not open here",
                experiment=progress.experiment,
                trial=progress.number,
            )
            await self._keeper.end(waiting.kept.key)
            if waiting.adopted is not None and self._claimant is not None:
                claimed = progress.claimed(self._claimant.incarnation)
                await self._slots.give_back(claimed, "its experiment is not open on its host any more")
            self._waiting.pop(claim_id, None)

    def _go_on(self, search: Search, waiting: _Waiting, adopted: Adopted) -> None:
        assert self._claimant is not None
        claimed = waiting.progress.claimed(
            self._claimant.incarnation, trial_id=adopted.trial_id, number=adopted.number
        )
        now = self._now(waiting)
        self._slots.adopt(search, waiting.progress, claimed, 0.0 if now is None else now.seconds)

    async def _end_late(self, search: Search, waiting: _Waiting) -> None:
        """Others settled it: tells how it ended, as late as that is, or kills it."""
        assert self._claimant is not None
        progress, key = waiting.progress, waiting.kept.key
        claimed = progress.claimed(self._claimant.incarnation)
        evaluation = self._slots.evaluation(progress.slot, search, claimed, progress.cards)
        has_more = progress.replicate < evaluation.experiment.replicates.count
        now = self._now(waiting)
        if now is None or not now.has_ended or has_more:
            search.log.error("trial killed: its host was taken for dead", trial=progress.number)
            await self._keeper.end(key)
            return
        evaluation.go_on(progress, self._keeper.resume)
        try:
            # A task has log fields of its own.
            ending = await asyncio.create_task(evaluate(evaluation, _refused))
        except Exception as error:  # noqa: BLE001 (the edge of one trial: it is settled already)
            search.log.warning("no ending to be told", trial=progress.number, reason=str(error))
            self._keeper.forget(key)
            return
        self._teller.put(search.result(claimed, self._host, ending), lambda: self._keeper.forget(key))

    def _now(self, waiting: _Waiting) -> Kept | None:
        """None if its keeper has died since it was found."""
        return next((kept for kept in self._keeper.kept() if kept.key == waiting.kept.key), None)


def _understood(kept: Kept) -> Progress | None:
    """None if it is no trial's, or cannot be gone on with."""
    if kept.context is None:
        return None
    try:
        return decode(kept.context)
    except ValueError as error:
        _log.error("a trial of an earlier daemon cannot be adopted", key=kept.key, reason=str(error))
        return None


def _place(waiting: _Waiting) -> tuple[int, int]:
    return waiting.progress.replicate, waiting.progress.attempt


async def _refused() -> bool:
    """Nothing more is begun for it."""
    return False
