"""This host among the others: its name, its beats, and the watch over hosts whose beats have stopped.

A host is dead when its counter has stood still for ``expire`` seconds of our own monotonic clock while our
own beats went through without a gap. An outage of the database therefore kills nobody. Nothing may delay a
beat: to look at the others and to settle what the dead left are tasks of their own.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

import structlog

from tuned.daemon.failure_detector import FailureDetector, Sighting
from tuned.daemon.retrying import FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, retried
from tuned.domain.claim import Claimant
from tuned.errors import Conflict, DatabaseAway
from tuned.storage.hosts import Beat, HostInfo, HostRow, Joined, beat, hosts, leave, mark_dead, register
from tuned.storage.trials.settling import name_of, orphaned_studies, settle_orphans

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine

    from structlog.typing import FilteringBoundLogger

    from tuned.storage.link import Link
    from tuned.storage.trials.adoption import Adopted

_log: FilteringBoundLogger = structlog.get_logger()

R = TypeVar("R")


class Fleet:
    """One host's membership in the fleet. Belongs to the event loop's thread."""

    def __init__(
        self,
        link: Link,
        *,
        host: str,
        installation_id: str,
        interval_seconds: float,
        expire_seconds: float,
        describe: Callable[[], HostInfo],
        on_asked: Callable[[str], Coroutine[None, None, None]] | None = None,
    ) -> None:
        """``on_asked`` is called, by the incarnation, when there are requests for this host."""
        self._link = link
        self._host = host
        self._installation_id = installation_id
        self._interval = interval_seconds
        self._watch = FailureDetector(interval_seconds, expire_seconds)
        self._describe = describe
        self._on_asked = on_asked
        self._is_asked = asyncio.Event()
        self.claimant: Claimant | None = None
        #: The trials of the last incarnation that this one has taken over.
        self.adopted: tuple[Adopted, ...] = ()
        #: A beat of ours went through, and nobody has looked at the others since.
        self._is_beaten = asyncio.Event()
        #: There may be orphans that nobody has looked for.
        self._is_looked = asyncio.Event()
        #: Another installation has our name, and may be dead or alive.
        self.waits_for_name = False

    @property
    def sightings(self) -> list[Sighting]:
        return self._watch.sightings

    async def join(self, kept: Collection[str] = ()) -> Claimant:
        """Becomes the host of its name, as a new incarnation, which must beat from now on.

        It takes over those trials of the last incarnation whose claims are ``kept``, if nobody has settled
        them. Waits while the database is away. Raises Conflict if another live installation has the name.
        """

        async def register_once() -> Joined | None:
            return await self._link.beat(register, self._host, self._installation_id, self._describe(), kept)

        while True:
            joined = await self._insist("register", register_once)
            if joined is not None:
                self.waits_for_name = False
                self.claimant = Claimant(host=self._host, incarnation=joined.incarnation)
                self.adopted = joined.adopted
                if self.adopted:
                    _log.info("trials adopted", trials=len(self.adopted))
                return self.claimant
            await self._insist("look at the host of this name", self._outlive_namesake)

    async def run(self, on_death: Callable[[], Awaitable[None]]) -> None:
        """Loops: beat, look at the others, and settle what the dead among them left.

        ``on_death`` is called when this host was declared dead: it must give up its trials and join again. No
        beat comes before it returns.
        """
        async with asyncio.TaskGroup() as group:
            for loop in (self._beat(on_death), self._look(), self._settle(), self._heed()):
                group.create_task(loop)

    async def settle_orphans(self) -> bool:
        """Settles what dead hosts left, this host's last incarnation too. Waits while the database is away.

        False if that failed in some study, which is logged and does not concern the others.
        """
        return await self._insist("settle orphans", self._settle_all)

    async def leave(self) -> None:
        """Leaves the fleet: its host is marked as stopped, if that goes through."""
        if self.claimant is None:
            return
        try:
            await self._link.beat(leave, self.claimant.incarnation, self._describe())
        except DatabaseAway:
            pass  # The others find this host dead.
        except Exception:  # noqa: BLE001 (an edge: nothing keeps this host from stopping)
            _log.exception("cannot leave the fleet")

    async def _insist(self, doing: str, step: Callable[[], Awaitable[R]]) -> R:
        return await retried(self._link, doing, step, on_failure=self._watch.blink)

    async def _beat(self, on_death: Callable[[], Awaitable[None]]) -> None:
        due = time.monotonic()
        while True:
            # A beat that took long does not delay the next one.
            due = max(due + self._interval, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            if await self._insist("beat", self._beat_once):
                self._is_beaten.set()
                continue
            _log.error("this host was taken for dead: its trials are given up")
            await on_death()

    async def _beat_once(self) -> bool:
        assert self.claimant is not None
        found = await self._link.beat(beat, self.claimant.incarnation, self._describe())
        if found is Beat.DEAD:
            await self._require_no_copy()
            return False
        if found is Beat.ASKED:
            self._is_asked.set()
        return True

    async def _heed(self) -> None:
        # No request waits for one that takes long.
        async with asyncio.TaskGroup() as group:
            while True:
                await self._is_asked.wait()
                self._is_asked.clear()
                if self._on_asked is not None and self.claimant is not None:
                    group.create_task(self._on_asked(self.claimant.incarnation))

    async def _look(self) -> None:
        while True:
            await self._is_beaten.wait()
            self._is_beaten.clear()
            await self._insist("look at the other hosts", self._look_once)
            self._is_looked.set()

    async def _look_once(self) -> None:
        rows = await self._link.beat(hosts)
        for dead in self._watch.look(rows, time.monotonic()):
            assert self.claimant is not None
            if dead.incarnation != self.claimant.incarnation and await self._link.beat(mark_dead, dead):
                _log.error("host found dead", dead_host=dead.name)

    async def _settle(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            await self._is_looked.wait()
            self._is_looked.clear()
            if await self.settle_orphans():
                pause = FIRST_PAUSE_SECONDS
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)

    async def _settle_all(self) -> bool:
        is_settled = True
        for study_id in await self._link.call(orphaned_studies):
            try:
                name = await self._link.call(name_of, study_id)
                numbers = await self._link.call(settle_orphans, study_id)
            except DatabaseAway:
                raise
            except Exception:  # noqa: BLE001 (a loop's edge: one study must not hold up the others)
                _log.exception("orphans not settled, tried again later", study_id=study_id)
                is_settled = False
                continue
            for number in numbers:
                _log.warning("lost trial settled", experiment=name, trial=number)
        return is_settled

    async def _require_no_copy(self) -> None:
        """Raises Conflict if a daemon on a copy of our state directory has our name now.

        One that does not beat is an earlier incarnation of ours: the database has forgotten the newer one.
        """
        before = {row.incarnation: row.beat for row in await self._namesakes()}
        if not before:
            return
        await asyncio.sleep(2 * self._interval)
        for row in await self._namesakes():
            if before.get(row.incarnation) != row.beat:
                raise self._conflict(row)

    async def _namesakes(self) -> list[HostRow]:
        """The living hosts with our name and our state directory, but another incarnation.

        With our own it is our row, which a person changed and mended meanwhile.
        """
        ours = None if self.claimant is None else self.claimant.incarnation
        return [
            row
            for row in await self._link.beat(hosts)
            if row.name == self._host and row.installation_id == self._installation_id
            if not row.dead and row.incarnation != ours
        ]

    def _conflict(self, row: HostRow) -> Conflict:
        if row.installation_id == self._installation_id:
            return Conflict(
                f"cannot be host {self._host}: another live daemon, host {row.name}, runs on a copy of this "
                "state directory; give one of them a new one (--state-dir), or stop it"
            )
        return Conflict(
            f"cannot join the fleet as {self._host}: another live daemon has this name; "
            "give one of them another (setting: host), or stop it"
        )

    async def _outlive_namesake(self) -> None:
        """Waits one beat for a sign of life of the installation that has our name."""
        if not self.waits_for_name:
            _log.warning("name or state directory is another daemon's: waiting whether it still lives")
        self.waits_for_name = True
        before = {sighting.row.incarnation: sighting.row.beat for sighting in self._watch.sightings}
        rows = [
            row
            for row in await self._link.beat(hosts)
            if self._host == row.name or self._installation_id == row.installation_id
        ]
        for dead in self._watch.look(rows, time.monotonic()):
            await self._link.beat(mark_dead, dead)
        for row in rows:
            if not row.dead and before.get(row.incarnation, row.beat) != row.beat:
                raise self._conflict(row)
        await asyncio.sleep(self._interval)
