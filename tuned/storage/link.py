"""The daemon's line to the database: calls in worker threads, and the knowledge whether it is there.

The event loop never waits for the database itself. Who meets DatabaseAway waits with ``back``; one task
tries again with backoff, and everybody goes on when it succeeds.
"""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import structlog

from tuned.errors import DatabaseAway
from tuned.storage.engine import BEAT_THREADS, CALL_THREADS, DRAW_THREADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.events import Events
    from tuned.storage.database import Database

_log: FilteringBoundLogger = structlog.get_logger()


R = TypeVar("R")
P = ParamSpec("P")

FIRST_RETRY_SECONDS = 0.2


class Link:
    """Calls functions that talk to one database, from the event loop's thread."""

    def __init__(self, database: Database, events: Events, *, last_retry_seconds: float) -> None:
        """Who comes back later than the others may be taken for dead: ``last_retry_seconds`` bounds that."""
        self.database = database
        self._last_retry = last_retry_seconds
        self._events = events
        self._draws = ThreadPoolExecutor(DRAW_THREADS, "draw")
        self._calls = ThreadPoolExecutor(CALL_THREADS, "call")
        self._beats = ThreadPoolExecutor(BEAT_THREADS, "beat")
        self._flying: set[asyncio.Future[Any]] = set()
        self._is_there = asyncio.Event()
        self._is_there.set()
        self._is_away = asyncio.Event()
        #: Why the database is away; None while it is there.
        self.message: str | None = None
        self._is_prepared = False

    async def prepare(self) -> None:
        """Makes the database ready for calls: whoever asks for one earlier is told that it is away.

        Raises DatabaseAway, and what ``Database.prepare`` raises.
        """
        await self._run(self._calls, self.database.prepare)
        self._is_prepared = True

    async def call(
        self, function: Callable[Concatenate[Database, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs a function of the storage in a thread, with the database as its first argument.

        Raises what the function raises; the link remembers DatabaseAway.
        """
        return await self.run(functools.partial(function, self.database), *args, **kwargs)

    async def run(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``call``, for a method of an object that has the database already."""
        if not self._is_prepared:
            raise DatabaseAway(self.message or "the database is being prepared")
        return await self._run(self._calls, functools.partial(method, *args, **kwargs))

    async def draw(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``call``, for what may think long."""
        return await self._run(self._draws, functools.partial(function, *args, **kwargs))

    async def beat(
        self, function: Callable[Concatenate[Database, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As ``call``, for what must not wait behind anything."""
        return await self._run(self._beats, functools.partial(function, self.database, *args, **kwargs))

    async def back(self) -> None:
        """Waits until the database is there."""
        await self._is_there.wait()

    async def lost(self) -> None:
        """Waits until the database is away."""
        await self._is_away.wait()

    async def watch(self) -> None:
        """For ever: while the database is away, tries it again."""
        while True:
            await self._is_away.wait()
            await self._reconnect()

    async def landed(self, seconds: float) -> None:
        """Waits until no call is under way, also of callers that were cancelled; at most so long.

        Draws are not waited for: they give and take nothing.
        """
        if self._flying:
            await asyncio.wait(self._flying, timeout=seconds)

    def close(self) -> None:
        for executor in (self._draws, self._calls, self._beats):
            executor.shutdown(wait=False, cancel_futures=True)
        # No thread is left waiting: the process could not end before it.
        self.database.cut()
        self.database.close()

    async def _run(self, executor: ThreadPoolExecutor, function: Callable[[], R]) -> R:
        future = asyncio.get_running_loop().run_in_executor(executor, function)
        if executor is not self._draws:
            self._flying.add(future)
        future.add_done_callback(self._land)
        try:
            # A thread cannot be cancelled: what it does to the database comes to its end in any case.
            return await asyncio.shield(future)
        except DatabaseAway as error:
            self._lose(error)
            raise

    def _land(self, future: asyncio.Future[Any]) -> None:
        self._flying.discard(future)
        if not future.cancelled():
            # Looked at: the failure of a call whose caller was cancelled is not one that was forgotten.
            future.exception()

    def _lose(self, error: DatabaseAway) -> None:
        if self.message is None:
            _log.warning("database away", reason=str(error))
            self._events.publish("database-away", message=str(error))
        self.message = str(error)
        self._is_there.clear()
        self._is_away.set()

    async def _reconnect(self) -> None:
        pause = FIRST_RETRY_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                await self._run(self._beats, self.database.ping)
            except DatabaseAway:
                pause = min(2 * pause, self._last_retry)
            else:
                break
        _log.info("database back")
        self._events.publish("database-back")
        self.message = None
        self._is_away.clear()
        self._is_there.set()
