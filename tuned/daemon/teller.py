"""Tells results to the database: on this host's disk first, then told in order until it is done.

Slots hand over their results here and go on; they do not wait for the disk. While the database is away,
results wait. Results that a stopped daemon could not tell are told by the next one before anything else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from tuned.disk.outbox import decode, encode
from tuned.domain.result import Result, TellOutcome
from tuned.errors import DatabaseAway
from tuned.storage.tells import tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.disk.outbox import Outbox
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class PendingResult:
    """A result on its way."""

    result: Result
    #: Of its file in the outbox.
    name: str
    #: Puts it there; None if it was found there. The result is whether the disk took it.
    writing: asyncio.Task[bool] | None = None

    async def is_on_disk(self) -> bool:
        """Waits until that is decided."""
        if self.writing is None:
            return True
        # A waiter that is cancelled does not cancel the writing.
        await asyncio.wait([self.writing])
        return self.writing.result()


class Teller:
    """The queue of results of one host."""

    def __init__(self, link: Link, outbox: Outbox) -> None:
        self._link = link
        self._outbox = outbox
        self._pending: deque[PendingResult] = deque()
        self._changed = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return len(self._pending)

    def trial_ids(self, study_id: int) -> set[int]:
        """The trials of a study that have ended here and of which the database does not know it yet."""
        return {pending.result.trial_id for pending in self._pending if pending.result.study_id == study_id}

    async def restore(self) -> None:
        """Takes up the results that an earlier daemon left."""
        for name, record in await asyncio.to_thread(self._outbox.pending):
            try:
                result = decode(record)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                _log.error("result not understood, left in the outbox", record=name, error=repr(error))
                continue
            self._add(PendingResult(result=result, name=name))

    def put(self, result: Result) -> None:
        """Takes a result over. From ``written`` on it survives the daemon, unless the disk is full."""
        pending = PendingResult(result=result, name=self._outbox.new_name())
        pending.writing = asyncio.create_task(self._write(pending))
        self._add(pending)

    async def written(self) -> None:
        """Waits until all results are on disk."""
        for pending in list(self._pending):
            await pending.is_on_disk()

    async def run(self, on_told: Callable[[Result, TellOutcome], Awaitable[None]]) -> None:
        """Loop: tell the results, oldest first, and call ``on_told`` for each."""
        while True:
            while self._pending:
                pending = self._pending[0]
                is_on_disk = await pending.is_on_disk()
                outcome = await self._tell(pending.result)
                if outcome is not None and is_on_disk:
                    await asyncio.to_thread(self._outbox.discard, pending.name)
                self._pending.popleft()
                await on_told(pending.result, outcome or TellOutcome.DROPPED)
            self._is_empty.set()
            self._changed.clear()
            await self._changed.wait()

    async def emptied(self) -> None:
        """Waits until nothing is left to tell."""
        await self._is_empty.wait()

    def _add(self, pending: PendingResult) -> None:
        self._pending.append(pending)
        self._is_empty.clear()
        self._changed.set()

    async def _write(self, pending: PendingResult) -> bool:
        try:
            await asyncio.to_thread(self._outbox.put, pending.name, encode(pending.result))
        except OSError as error:
            trial_id = pending.result.trial_id
            _log.error("result not on disk, kept in memory", trial_id=trial_id, error=str(error))
            return False
        return True

    async def _tell(self, result: Result) -> TellOutcome | None:
        """Tells one result; None if the database refuses it for good, and its record stays in the outbox."""
        while True:
            try:
                return await self._link.call(tell, result)
            except DatabaseAway:
                await self._link.back()
            except Exception:  # noqa: BLE001 (a loop's edge)
                # One result that cannot be told must not hold up the others.
                _log.exception("result cannot be told", trial_id=result.trial_id)
                return None
