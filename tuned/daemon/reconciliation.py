"""Compares what this host runs and has told with what the database says of it.

Both agree unless the database has forgotten its last transactions, as after a failover to an asynchronous
standby or a restored backup. Results are then told again, running trials are claimed again or killed, and
trials that the database calls ours and that do not run are settled. This room must never change a trial of
another host.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from tuned.daemon.retrying import retried
from tuned.errors import DatabaseAway
from tuned.storage.trials.remembered import Remembered, remembered, told_by
from tuned.storage.trials.settling import name_of, settle_claims

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.scheduler import Scheduler
    from tuned.daemon.teller import Teller
    from tuned.daemon.trials.running import Running
    from tuned.domain.claim import Claimant
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()


class Reconciliation:
    """One host's memory against the database's. Belongs to the event loop's thread."""

    def __init__(
        self, link: Link, teller: Teller, scheduler: Scheduler, claimant: Callable[[], Claimant | None]
    ) -> None:
        self._link = link
        self._teller = teller
        self._scheduler = scheduler
        self._claimant = claimant
        #: Claims that the last look found held and not running here, with the study of each.
        self._suspects: dict[str, int] = {}

    async def recall(self, host: str) -> None:
        """Before the first telling: takes up the results that the database has forgotten."""

        async def look() -> None:
            newest_told = self._teller.newest_told
            await self._recall(await self._link.call(told_by, host), newest_told)

        await retried(self._link, "recall results", look)

    async def run(self, interval_seconds: float) -> None:
        """Loop: look each beat, and at once when the database is back."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_seconds):
                    await self._link.lost()
            await self._link.back()
            try:
                await self.look()
            except DatabaseAway:
                continue
            except Exception:  # noqa: BLE001 (a loop's edge)
                _log.exception("host not compared with the database")

    async def look(self) -> None:
        """Raises DatabaseAway."""
        claimant = self._claimant()
        if claimant is None:
            return
        before = [running for running in self._scheduler.slots if running is not None]
        known, newest_told = self._known(), self._teller.newest_told
        found = await self._link.call(remembered, claimant)
        if self._claimant() is not claimant:
            # Declared dead meanwhile: what it held is settled as lost.
            return
        await self._recall(found.told, newest_told)
        for running in before:
            if running.claimed.claim_id not in found.claims:
                await self._claim_again(running, claimant)
        await self._settle(found, claimant, known)

    async def _recall(self, told: int, newest_told: int) -> None:
        """Has results told again if the database knew less than this host had told before it was asked."""
        if told < newest_told:
            await self._teller.recall(told)

    def _known(self) -> set[str]:
        """The claims that run here, that are told, or whose outcome is open."""
        running = {each.claimed.claim_id for each in self._scheduler.slots if each is not None}
        under_way = (search.claims_under_way for search in self._scheduler.searches.values())
        return running.union(self._teller.claims, self._scheduler.adoptions.claims, *under_way)

    async def _claim_again(self, running: Running, claimant: Claimant) -> None:
        claimed = running.claimed
        if running.task.done() or claimed.incarnation != claimant.incarnation:
            return
        again = await running.search.claim_again(claimed, running.evaluation.evaluations)
        if running.task.done():
            # Its result names the claim, so it ends the trial that the claim has now.
            return
        if again is None:
            running.search.log.error("trial killed: the database forgot its claim", trial=claimed.number)
            running.task.cancel()
        elif again.trial_id != claimed.trial_id:
            running.search.log.warning(
                "trial claimed again: the database forgot its claim", trial=claimed.number, now=again.number
            )
            running.claimed = again

    async def _settle(self, found: Remembered, claimant: Claimant, known: set[str]) -> None:
        """Settles what two looks in a row found held by this host, though it does not run it."""
        known |= self._known()
        suspects = {claim: study for claim, study in found.claims.items() if claim not in known}
        sure = self._suspects.keys() & suspects.keys()
        self._suspects = suspects
        for study_id in {suspects[claim] for claim in sure}:
            ids = [claim for claim in sure if suspects[claim] == study_id]
            name = await self._link.call(name_of, study_id)
            for number in await self._link.call(settle_claims, study_id, claimant.incarnation, ids):
                _log.warning("trial settled that this host does not run", experiment=name, trial=number)
