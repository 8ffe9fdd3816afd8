"""This host among the others: its name, its beats, and the watch over hosts whose beats have stopped.

A host is dead when its counter has stood still for ``expire`` seconds of our own monotonic clock while our
own beats went through without a gap. An outage of the database therefore kills nobody.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from tuned.daemon.failure_detector import FailureDetector, Sighting
from tuned.domain.claim import Claimant
from tuned.errors import Conflict, DatabaseAway
from tuned.storage.hosts import HostInfo, HostRow, beat, hosts, leave, mark_dead, register
from tuned.storage.settling import orphaned_studies, settle_orphans

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()


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
    ) -> None:
        self._link = link
        self._host = host
        self._installation_id = installation_id
        self._interval = interval_seconds
        self._watch = FailureDetector(interval_seconds, expire_seconds)
        self._describe = describe
        self.claimant: Claimant | None = None
        #: Another installation has our name, and may be dead or alive.
        self.waits_for_name = False

    @property
    def sightings(self) -> list[Sighting]:
        return self._watch.sightings

    async def join(self) -> Claimant:
        """Becomes the host of its name, as a new incarnation, and settles what its old one left.

        Waits while the database is away. Raises Conflict if another live installation has the name.
        """
        while True:
            try:
                incarnation = await self._link.call(
                    register, self._host, self._installation_id, self._describe()
                )
                if incarnation is not None:
                    await self._settle_orphans()
                    self.waits_for_name = False
                    self.claimant = Claimant(host=self._host, incarnation=incarnation)
                    return self.claimant
                await self._outlive_namesake()
            except DatabaseAway:
                self._watch.blink()
                await self._link.back()

    async def beat(self, on_death: Callable[[], Awaitable[None]]) -> None:
        """Loop: beat, and look after the others.

        ``on_death`` is called when this host was declared dead: it must give up its trials and join again.
        """
        while True:
            await asyncio.sleep(self._interval)
            try:
                if not await self._beat_once():
                    _log.error("this host was taken for dead: its trials are given up")
                    await on_death()
            except DatabaseAway:
                self._watch.blink()
                await self._link.back()

    async def leave(self) -> None:
        """Leaves the fleet: its host is marked as stopped. Raises DatabaseAway."""
        if self.claimant is not None:
            await self._link.beat(leave, self.claimant.incarnation, self._describe())

    async def _beat_once(self) -> bool:
        assert self.claimant is not None
        lives = await self._link.beat(beat, self.claimant.incarnation, self._describe())
        rows = await self._link.beat(hosts)
        if not lives:
            self._require_no_copy(rows)
            return False
        for dead in self._watch.look(rows, time.monotonic()):
            if dead.incarnation != self.claimant.incarnation and await self._link.beat(mark_dead, dead):
                _log.error("host found dead", dead_host=dead.name)
        await self._settle_orphans()
        return True

    def _require_no_copy(self, rows: list[HostRow]) -> None:
        """Only a daemon on a copy of our state directory can have our name now; both cannot have it."""
        for row in rows:
            if row.name == self._host and row.installation_id == self._installation_id and not row.dead:
                raise self._conflict(row)

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

    async def _settle_orphans(self) -> None:
        for study_id in await self._link.call(orphaned_studies):
            numbers = await self._link.call(settle_orphans, study_id)
            if numbers:
                _log.warning("lost trials settled", study_id=study_id, trials=numbers)

    async def _outlive_namesake(self) -> None:
        """Waits one beat for a sign of life of the installation that has our name."""
        if not self.waits_for_name:
            _log.warning("name or state directory is another daemon's: waiting whether it still lives")
        self.waits_for_name = True
        before = {sighting.row.incarnation: sighting.row.beat for sighting in self._watch.sightings}
        rows = [
            row
            for row in await self._link.call(hosts)
            if self._host == row.name or self._installation_id == row.installation_id
        ]
        for dead in self._watch.look(rows, time.monotonic()):
            await self._link.call(mark_dead, dead)
        for row in rows:
            if not row.dead and before.get(row.incarnation, row.beat) != row.beat:
                raise self._conflict(row)
        await asyncio.sleep(self._interval)
