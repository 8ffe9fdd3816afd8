"""When this host works: the edges of its hours, and the fate of trials that still run at their end.

This room owns whether the host is off. It reads the clock once for each look, and sleeps until the next
edge. A clock that somebody sets gives no sign, so it looks once a minute, too. It must never start a trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from tuned.config.hours import ALWAYS, Stretch
from tuned.daemon.retrying import retried
from tuned.domain.states import SearchState

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.config.hours import Hours
    from tuned.config.settings_file import WhenOver
    from tuned.daemon.scheduler import Scheduler
    from tuned.domain.claim import Claimant
    from tuned.protocol.fields import OffView
    from tuned.search.search import Search
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()

LOOK_SECONDS = 60.0

#: A timer that is early by less must not look in vain.
_LATE_SECONDS = 0.005


class WorkingHours:
    """The hours of one host. Belongs to the event loop's thread."""

    def __init__(
        self,
        link: Link,
        scheduler: Scheduler,
        claimant: Callable[[], Claimant | None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._scheduler = scheduler
        self._claimant = claimant
        self._clock = clock
        self._when_over: WhenOver = "finish"
        self._stretch = Stretch(is_open=True, since=None, until=None)
        self._changed = asyncio.Event()
        self.hours = ALWAYS

    @property
    def off(self) -> OffView | None:
        """Since when and until when this host does not work; None while it does."""
        since, until = self._stretch.since, self._stretch.until
        if self._stretch.is_open or since is None or until is None:
            return None
        return {"since": _utc(since), "until": _utc(until)}

    def limit(self, hours: Hours, when_over: WhenOver) -> None:
        """Replaces the hours. If the host is off by them, nothing starts from now on."""
        self.hours, self._when_over = hours, when_over
        self._look()
        self._changed.set()

    async def run(self) -> None:
        """Loop: end the trials that must not run now, let others start if they may, and wait for an edge."""
        while True:
            self._changed.clear()
            now = self._look()
            if not self._stretch.is_open and self._when_over == "abort":
                await self._abort()
            # An end of the hours may have come while trials were settled.
            elif self._stretch.is_open and self._scheduler.beginnings.is_off:
                _log.info("host works", until=self._stretch.until and _utc(self._stretch.until))
                self._scheduler.beginnings.is_off = False
                self._scheduler.wake()
            await self._next_look(now)

    def _look(self) -> float:
        """Reads the clock, and stops what must not start now. Returns the time."""
        # A person may have moved the machine to another time zone.
        time.tzset()
        now, was_open = self._clock(), self._stretch.is_open
        self._stretch = self.hours.at(now)
        if not self._stretch.is_open:
            self._scheduler.beginnings.is_off = True
            self._scheduler.wake()
            if was_open and self.off is not None:
                _log.warning("host does not work now", when_over=self._when_over, **self.off)
        return now

    async def _next_look(self, now: float) -> None:
        until = self._stretch.until
        pause = LOOK_SECONDS if until is None else min(LOOK_SECONDS, until - now + _LATE_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause if self.hours.texts else None):
                await self._changed.wait()

    async def _abort(self) -> None:
        """Kills and settles all that runs. Nothing new may start before that is in the database."""
        async with asyncio.TaskGroup() as group:
            for search in list(self._scheduler.searches.values()):
                if search.busy and search.state is not SearchState.ENDING:
                    group.create_task(self._end_trials_of(search))

    async def _end_trials_of(self, search: Search) -> None:
        async def interrupt() -> None:
            claimant = self._claimant()
            assert claimant is not None
            await self._scheduler.interrupt(search, claimant.incarnation)

        await retried(self._link, "end the trials of this host", interrupt)


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
