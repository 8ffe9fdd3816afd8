"""The daemon's link to the database: calls in worker threads, and whether the database is reachable.

The event loop never waits for the database itself. A caller that gets DatabaseAway waits with ``back``. One
task retries with backoff, and all callers go on once it succeeds. The database counts as back only after a
call of each kind that failed or waited has gone through, because a full disk or a lock lets others pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import structlog

from tuned.errors import DatabaseAway
from tuned.storage.connection import faults
from tuned.storage.connection.engine import BEAT_THREADS, CALL_THREADS, DRAW_THREADS, LOCK_SECONDS
from tuned.storage.connection.lanes import Lane, Lanes

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.events import Events
    from tuned.storage.database import Database

_log: FilteringBoundLogger = structlog.get_logger()

R = TypeVar("R")
P = ParamSpec("P")

FIRST_RETRY_SECONDS = 0.2

#: A server that is silent although its connections stand would hang a call without end. If a call takes so
#: long, the link asks whether the database answers at all.
SLOW_SECONDS = 6.0

#: How often the link looks for slow calls.
LOOK_SECONDS = 2.0

#: If the database gives no answer within this time, the link cuts all connections.
ANSWER_SECONDS = 12.0

_PREPARING = "the database is being prepared"


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
        self._lanes = Lanes(CALL_THREADS)
        #: Calls in threads, and when they began.
        self._flying: dict[asyncio.Future[Any], float] = {}
        self._drawing: dict[asyncio.Future[Any], float] = {}
        self._is_there = asyncio.Event()
        self._is_there.set()
        self._is_away = asyncio.Event()
        self._is_prepared = asyncio.Event()
        #: Why the database is away, and what a person can do; None while it is reachable.
        self.message: str | None = None
        self.remedy = ""
        #: The executors or lanes of calls that failed or waited, and of which none has gone through since.
        self._suspects: set[object] = set()
        self._is_proven = asyncio.Event()
        self._pause = FIRST_RETRY_SECONDS
        self._back_since = 0.0

    @property
    def problem(self) -> str | None:
        """Why no call can be made now; None if one can."""
        return self.message or (None if self._is_prepared.is_set() else _PREPARING)

    async def prepare(self) -> None:
        """Makes the database ready for calls. An earlier call raises DatabaseAway.

        Raises DatabaseAway, and Conflict as ``Database.prepare`` does.
        """
        await self._run(self._calls, self._calls, self.database.prepare)
        self._is_prepared.set()

    async def ready(self, seconds: float) -> None:
        """Waits, for at most so long, until calls can be made. Raises DatabaseAway."""
        try:
            async with asyncio.timeout(seconds):
                await self._is_prepared.wait()
                await self._is_there.wait()
        except TimeoutError:
            waited = f" (waited {seconds:g} s)" if seconds else ""
            raise DatabaseAway(f"{self.problem}{waited}", remedy=self.remedy) from None

    async def call(
        self, function: Callable[Concatenate[Database, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Runs a function of the storage in a thread, with the database as its first argument.

        Passes on the function's exceptions. The link remembers DatabaseAway, and raises it at once while the
        database is away.
        """
        return await self._call(Lane.LOOK, functools.partial(function, self.database, *args, **kwargs))

    async def tell(
        self, function: Callable[Concatenate[Database, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As ``call``, but goes before all that waits."""
        return await self._call(Lane.TELL, functools.partial(function, self.database, *args, **kwargs))

    async def ask(
        self, function: Callable[Concatenate[Database, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As ``call``, for a question of a peer: one at a time, and also while the database is away.

        A database that takes no writes may still answer.
        """
        return await self._call(Lane.ASK, functools.partial(function, self.database, *args, **kwargs))

    async def run(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``call``, but runs a method of an object that has the database already, behind all others.

        It is for the way of a slot to its next point.
        """
        return await self._call(Lane.CLAIM, functools.partial(method, *args, **kwargs))

    async def share(
        self, function: Callable[Concatenate[Database, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As ``call``, but behind all others, the way of a slot included."""
        return await self._call(Lane.SHARE, functools.partial(function, self.database, *args, **kwargs))

    async def draw(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``call``, but runs a function that may take long, in threads of its own."""
        return await self._run(self._draws, self._draws, functools.partial(function, *args, **kwargs))

    async def beat(
        self, function: Callable[Concatenate[Database, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As ``call``, but runs a function that no other call may delay."""
        beat = functools.partial(function, self.database, *args, **kwargs)
        return await self._run(self._beats, self._beats, beat)

    async def back(self) -> None:
        """Waits until the database is reachable."""
        await self._is_there.wait()

    async def lost(self) -> None:
        """Waits until the database is away."""
        await self._is_away.wait()

    async def watch(self) -> None:
        """Loop: reconnect while the database is away, and find out whether it has fallen silent."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._is_away.wait()
            if self._is_away.is_set():
                await self._reconnect()
            elif self._is_slow():
                await self._answers()

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

    async def _call(self, lane: Lane, function: Callable[[], R]) -> R:
        if not self._is_prepared.is_set():
            raise DatabaseAway(self.problem or "", remedy=self.remedy)
        await self._lanes.enter(lane)
        return await self._run(self._calls, lane, function, lambda: self._lanes.leave(lane))

    async def _run(
        self,
        executor: ThreadPoolExecutor,
        kind: object,
        function: Callable[[], R],
        on_landed: Callable[[], None] = lambda: None,
    ) -> R:
        if not self._is_there.is_set() and kind is not Lane.ASK:
            on_landed()
            self._suspects.add(kind)
            raise DatabaseAway(self.message or "", remedy=self.remedy)
        try:
            found = await self._in_thread(executor, function, on_landed)
        except DatabaseAway as error:
            self._suspects.add(kind)
            self._lose(error)
            raise
        self._suspects.discard(kind)
        if self._suspects.isdisjoint((self._beats, Lane.TELL, Lane.CLAIM)):
            self._find_back()
        return found

    async def _in_thread(
        self, executor: ThreadPoolExecutor, function: Callable[[], R], on_landed: Callable[[], None]
    ) -> R:
        future = asyncio.get_running_loop().run_in_executor(executor, function)
        flying = self._drawing if executor is self._draws else self._flying
        flying[future] = time.monotonic()

        def land(future: asyncio.Future[R]) -> None:
            del flying[future]
            on_landed()
            if not future.cancelled():
                # Retrieve it, so that asyncio does not log the failure of a call whose caller was cancelled.
                future.exception()

        future.add_done_callback(land)
        # A thread cannot be cancelled, so its call runs to its end in any case.
        return await asyncio.shield(future)

    def _lose(self, error: DatabaseAway) -> None:
        if self.message is None:
            _log.warning("database away", reason=str(error))
            self._events.publish("database-away", message=str(error))
        self.message, self.remedy = str(error), error.remedy
        self._is_proven.clear()
        self._is_there.clear()
        self._is_away.set()

    async def _reconnect(self) -> None:
        """Until the database answers and takes again what it refused, each time after a longer pause."""
        if time.monotonic() - self._back_since > self._calm_seconds:
            self._pause = FIRST_RETRY_SECONDS
        while True:
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, self._last_retry)
            if await self._answers() and await self._lets_through():
                self._find_back()
                return

    def _find_back(self) -> None:
        """Takes note that the database works, unless that is known, or it was lost again meanwhile."""
        if self.message is None or not self._is_there.is_set():
            return
        self.message, self.remedy = None, ""
        self._suspects.clear()
        self._back_since = time.monotonic()
        self._is_proven.set()
        _log.info("database back")
        self._events.publish("database-back")

    @property
    def _calm_seconds(self) -> float:
        """A call that waits for a lock fails within less."""
        return max(2.0 * LOCK_SECONDS, self._last_retry)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._in_thread(self._beats, self.database.ping, lambda: None)
        except TimeoutError:
            # The threads that wait for an answer get an error, and so their callers.
            await asyncio.to_thread(self.database.cut)
            silence = f"the database does not answer: silent for {ANSWER_SECONDS:g} s"
            self._lose(DatabaseAway(silence, remedy=faults.SERVER))
        except DatabaseAway as error:
            self._lose(error)
        except Exception:  # noqa: BLE001 (a loop's edge)
            _log.exception("the database could not be asked")
        else:
            return True
        return False

    async def _lets_through(self) -> bool:
        """Lets calls go on; False if one fails before the database is found back."""
        self._is_proven.clear()
        self._is_away.clear()
        self._is_there.set()
        waits = [asyncio.ensure_future(event.wait()) for event in (self._is_away, self._is_proven)]
        try:
            await asyncio.wait(waits, timeout=self._calm_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not self._is_away.is_set()

    def _is_slow(self) -> bool:
        began = min([*self._flying.values(), *self._drawing.values()], default=None)
        is_served = self.database.is_postgresql
        return is_served and began is not None and time.monotonic() - began > SLOW_SECONDS
