"""Tells results to the database: on this host's disk first, then told in order until it is done.

Slots hand over their results here and go on; they do not wait for the disk. While the database is away,
results wait. Results that a stopped daemon could not tell are told by the next one before anything else.
Nothing that a record contains ends the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from tuned.disk.outage import DiskOutage
from tuned.disk.outbox import decode, encode, number_of
from tuned.domain.result import Result, TellOutcome
from tuned.errors import DatabaseAway
from tuned.storage.trials.tells import Receipt, tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from structlog.typing import FilteringBoundLogger

    from tuned.disk.outbox import Outbox
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()

#: How long a result that the database refused waits until it is told again.
RETRY_SECONDS = 60.0


@dataclass(slots=True, kw_only=True, eq=False)
class PendingResult:
    """A result on its way."""

    result: Result
    #: Of its file in the outbox.
    name: str
    #: Puts it there; None if it was found there. The result is whether the disk took it.
    writing: asyncio.Task[bool] | None = None
    #: The database refused it before, and the log has the reason.
    was_refused: bool = False
    #: Is told once it is on disk here, or the database has it.
    on_safe: Callable[[], object] = lambda: None
    #: Finds the end of its trial's output, once that is written; None if nobody is to read it.
    find_output: Callable[[], Awaitable[bytes]] | None = None

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
        self._disk = DiskOutage("result not on disk, kept in memory")
        self._pending: deque[PendingResult] = deque()
        #: Results that the database refused; they hold up no other.
        self._refused: list[PendingResult] = []
        self._retry_at = 0.0
        self._changed = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return len(self._pending) + len(self._refused)

    @property
    def claims(self) -> dict[str, int]:
        """The claims that have ended here and of which the database may not know it, with their studies."""
        return {each.result.claim_id: each.result.study_id for each in (*self._pending, *self._refused)}

    @property
    def newest_told(self) -> int:
        """The number of the newest record that the database has taken; 0 without one."""
        return self._outbox.newest_told

    async def restore(self) -> None:
        """Takes up the results that an earlier daemon left."""
        try:
            found = await asyncio.to_thread(self._outbox.pending)
        except OSError as error:
            _log.error("outbox cannot be read: its results are told after the next start", error=str(error))
            return
        for name, record in found:
            if pending := await self._parsed(name, record):
                self._pending.append(pending)
        self._note_change()

    async def recall(self, told: int) -> None:
        """Tells again what was told after this record, because the database has forgotten it."""
        found = await asyncio.to_thread(self._outbox.take_back, told)
        _log.warning("the database has forgotten results: they are told again", results=len(found))
        for name, record in reversed(found):
            if pending := await self._parsed(name, record):
                self._pending.appendleft(pending)
        self._note_change()

    def put(
        self,
        result: Result,
        on_safe: Callable[[], object] = lambda: None,
        find_output: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        """Takes a result over. From ``written`` on it survives the daemon, unless the disk is full.

        ``on_safe`` is called once it does, or the database has it. If the trial failed, the end of its
        output goes with it.
        """
        has_failed = result.ending.failure is not None
        pending = PendingResult(
            result=result,
            name=self._outbox.new_name(),
            on_safe=on_safe,
            find_output=find_output if has_failed else None,
        )
        pending.writing = asyncio.create_task(self._write(pending))
        self._pending.append(pending)
        self._note_change()

    async def written(self) -> None:
        """Waits until all results are on disk."""
        for pending in list(self._pending):
            await pending.is_on_disk()

    async def run(self, on_told: Callable[[Result, TellOutcome], Awaitable[None]]) -> None:
        """Loop: tell the results, oldest first, and call ``on_told`` for each."""
        while True:
            while self._pending:
                await self._tell_one(self._pending[0], on_told)
            self._is_empty.set()
            self._changed.clear()
            await self._rest()

    async def emptied(self) -> None:
        """Waits until nothing is left to tell, but what the database refused."""
        await self._is_empty.wait()

    def _note_change(self) -> None:
        if self._pending:
            self._is_empty.clear()
            self._changed.set()

    async def _rest(self) -> None:
        """Waits for the next result, or until refused ones are tried again."""
        try:
            async with asyncio.timeout_at(self._retry_at if self._refused else None):
                await self._changed.wait()
        except TimeoutError:
            self._pending.extend(self._refused)
            self._refused.clear()

    async def _parsed(self, name: str, record: Mapping[str, Any]) -> PendingResult | None:
        """A record of the outbox as a result; it is set aside if it is none."""
        try:
            return PendingResult(result=decode(record), name=name)
        except ValueError as error:
            await asyncio.to_thread(self._outbox.set_aside, name, _in_one_line(error))
        except Exception:  # noqa: BLE001 (a loop's edge)
            _log.exception("result not understood, left in the outbox", record=name)
        return None

    async def _write(self, pending: PendingResult) -> bool:
        try:
            if pending.find_output is not None:
                pending.result = replace(pending.result, output=await pending.find_output())
            await asyncio.to_thread(self._outbox.put, pending.name, encode(pending.result))
        except OSError as error:
            self._disk.note(error, str(self._outbox.path_of(pending.name)))
            return False
        except Exception:  # noqa: BLE001 (a loop's edge)
            _log.exception("result not on disk, kept in memory", trial_id=pending.result.trial_id)
            return False
        pending.on_safe()
        return True

    async def _tell_one(
        self, pending: PendingResult, on_told: Callable[[Result, TellOutcome], Awaitable[None]]
    ) -> None:
        is_on_disk = await pending.is_on_disk()
        try:
            outcome = await self._tell(pending)
        except Exception as error:  # noqa: BLE001 (a loop's edge)
            outcome = None
            await self._refuse(pending, error, is_on_disk=is_on_disk)
        if outcome is not None and is_on_disk:
            await self._put_away(pending.name, outcome)
        elif outcome is not None:
            pending.on_safe()
        # Not the first any more if others were taken back meanwhile.
        self._pending.remove(pending)
        try:
            await on_told(pending.result, outcome or TellOutcome.DROPPED)
        except Exception:  # noqa: BLE001 (a loop's edge)
            _log.exception("told result not followed up", trial_id=pending.result.trial_id)

    async def _tell(self, pending: PendingResult) -> TellOutcome:
        while True:
            receipt = Receipt(record=number_of(pending.name), after=self._outbox.newest_told)
            try:
                return await self._link.tell(tell, pending.result, receipt)
            except DatabaseAway:
                await self._link.back()

    async def _refuse(self, pending: PendingResult, error: Exception, *, is_on_disk: bool) -> None:
        """One result that cannot be told must not hold up the others."""
        trial_id = pending.result.trial_id
        if isinstance(error, ValueError):
            # It lies with the record, and stays so.
            _log.error("result cannot be told", trial_id=trial_id, reason=_in_one_line(error))
            if is_on_disk:
                await asyncio.to_thread(self._outbox.set_aside, pending.name, _in_one_line(error))
            return
        if not pending.was_refused:
            _log.error("result cannot be told, tried again later", trial_id=trial_id, exc_info=error)
        pending.was_refused = True
        self._refused.append(pending)
        self._retry_at = asyncio.get_running_loop().time() + RETRY_SECONDS

    async def _put_away(self, name: str, outcome: TellOutcome) -> None:
        # A database that knows it now may forget it later. Of a study that is gone it notes no receipt.
        done = self._outbox.discard if outcome is TellOutcome.DROPPED else self._outbox.keep
        try:
            await asyncio.to_thread(done, name)
        except OSError as error:
            # The next start tells it again, which changes nothing.
            _log.error("told result not removed from the outbox", record=name, error=str(error))


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
