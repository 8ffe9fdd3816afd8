"""The daemon's link to the database: calls in worker threads, and whether the database is reachable.

The event loop never waits for the database itself. A caller that gets DatabaseAway waits with ``back``. One
task retries with backoff, and all callers go on once it succeeds.
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
        """``last_retry_seconds`` caps the backoff: a host that reconnects too late is declared dead."""
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
        #: Why the database is away; None while it is reachable.
        self.message: str | None = None
        self._is_prepared = False

    async def prepare(self) -> None:
        """Makes the database ready for calls. An earlier call raises DatabaseAway.

        Raises DatabaseAway, and Conflict as ``Database.prepare`` does.
        """
        await self._run(self._calls, self.database.prepare)
        self._is_prepared = True

    async def call(
        self, function: Callable[Concatenate[Database, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs a function of the storage in a thread, with the database as its first argument.

        Passes on the function's exceptions. The link remembers DatabaseAway.
        """
        return await self.run(functools.partial(function, self.database), *args, **kwargs)

    async def run(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``call``, but runs a method of an object that has the database already."""
        if not self._is_prepared:
            raise DatabaseAway(self.message or "the database is being prepared")
        return await self._run(self._calls, functools.partial(method, *args, **kwargs))

    async def draw(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``call``, but runs a function that may take long, in threads of its own."""
        return await self._run(self._draws, functools.partial(function, *args, **kwargs))

    async def beat(
        self, function: Callable[Concatenate[Database, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As ``call``, but runs a function that no other call may delay."""
        return await self._run(self._beats, functools.partial(function, self.database, *args, **kwargs))

    async def back(self) -> None:
        """Waits until the database is reachable."""
        await self._is_there.wait()

    async def lost(self) -> None:
        """Waits until the database is away."""
        await self._is_away.wait()

    async def watch(self) -> None:
        """Loop: reconnect while the database is away."""
        while True:
            await self._is_away.wait()
            await self._reconnect()

    async def landed(self, seconds: float) -> None:
        """Waits at most so long until no call is in flight, not even one whose caller was cancelled.

        It does not wait for draws, because they change nothing in the database.
        """
        if self._flying:
            await asyncio.wait(self._flying, timeout=seconds)

    def close(self) -> None:
        for executor in (self._draws, self._calls, self._beats):
            executor.shutdown(wait=False, cancel_futures=True)
        # A thread that waits on a connection would keep the process from ending.
        self.database.cut()
        self.database.close()

    async def _run(self, executor: ThreadPoolExecutor, function: Callable[[], R]) -> R:
        future = asyncio.get_running_loop().run_in_executor(executor, function)
        if executor is not self._draws:
            self._flying.add(future)
        future.add_done_callback(self._land)
        try:
            # A thread cannot be cancelled, so its call runs to its end in any case.
            return await asyncio.shield(future)
        except DatabaseAway as error:
            self._lose(error)
            raise

    def _land(self, future: asyncio.Future[Any]) -> None:
        self._flying.discard(future)
        if not future.cancelled():
            # Retrieve it, so that asyncio does not log the failure of a call whose caller was cancelled.
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
