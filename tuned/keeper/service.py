"""The keeper's side of its conversations: carries out the requests of one daemon after the other.

A daemon that is gone leaves its runs here, and the next one finds them. Once a daemon says stop, or none has
come for long, nothing may be left. This room must never decide anything about a run but how it ended.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from tuned import __version__
from tuned.disk import trial_log
from tuned.disk.outage import DiskOutage
from tuned.disk.trial_log import WRITTEN_SECONDS
from tuned.keeper import protocol
from tuned.keeper.attended import Attended
from tuned.keeper.wire import LINE_BYTES, Wire
from tuned.systemd import log
from tuned.trial import process_table, tree

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine

    from structlog.typing import FilteringBoundLogger

    from tuned.domain.ending import Ending
    from tuned.keeper.chores import Chores
    from tuned.keeper.records import Records
    from tuned.keeper.runs import Runs

_log: FilteringBoundLogger = structlog.get_logger()

T = TypeVar("T")

#: So long an ending waits for the disk before it is told all the same.
RECORD_SECONDS = 1.0

#: If no daemon has an ending for so long, its record is made to outlive a power cut too.
SYNC_SECONDS = 1.0

#: How long somebody who knocks may take to say hello.
HELLO_SECONDS = 10.0

#: A disk that did not take a record is tried again.
RETRY_SECONDS = 10.0


class Service:
    """Belongs to the event loop's thread."""

    def __init__(
        self,
        runs: Runs,
        records: Records,
        chores: Chores,
        surroundings: protocol.Surroundings | None = None,
    ) -> None:
        self._runs = runs
        self._records = records
        self._disk = DiskOutage("ending not on disk, kept in memory")
        self._chores = chores
        self._surroundings = surroundings
        self._host = ""
        #: How long it goes on without a daemon.
        self._patience_seconds = 0.0
        #: To the daemon; None while there is none.
        self._wire: Wire | None = None
        #: Daemons that wait.
        self._callers: deque[Wire] = deque()
        #: By key, until a daemon has forgotten it.
        self._attended: dict[str, Attended] = {}
        #: Those that may have runs, as the daemon said last.
        self._studies: list[str | None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_stopping = False
        self._changed = asyncio.Event()

    async def serve(self, first: Wire, hello: protocol.Hello, entrance: socket.socket) -> None:
        """Serves the daemon that says hello, and those that come after it."""
        server = None
        try:
            await self._restore()
            server = await asyncio.start_unix_server(self._receive, sock=entrance, limit=LINE_BYTES)
            await self._converse(first, hello)
            while not self._is_stopping and (wire := await self._next()) is not None:
                if (greeting := await hello_of(wire)) is not None:
                    await self._converse(wire, greeting)
                wire.close()
        finally:
            if server is not None:
                server.close()
            await self._end()

    @property
    def is_connected(self) -> bool:
        return self._wire is not None

    @property
    def is_clogged(self) -> bool:
        return self._wire is not None and self._wire.is_clogged

    def send(self, message: protocol.ToDaemon) -> None:
        """A daemon that comes later learns all of it by the runs that are kept."""
        if self._wire is not None:
            self._wire.send(protocol.encoded(message))

    def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._callers.append(Wire(reader, writer))
        self._note_change()

    async def _restore(self) -> None:
        """Takes up endings that an earlier keeper left, and that no daemon has."""
        for key, content in (await self._records.found()).items():
            try:
                self._attended[key] = Attended.recorded(protocol.recorded(content), self)
            except (ValueError, KeyError, TypeError) as error:
                _log.error("an ending cannot be read", key=key, error=str(error))

    async def _converse(self, wire: Wire, hello: protocol.Hello) -> None:
        """Until the daemon is gone, or has said stop."""
        self._host, self._patience_seconds = hello["host"], hello["patience_seconds"]
        log.configure(hello["log_format"], host=self._host)
        self._runs.resize(hello["slots"])
        # Those that a daemon was just killing belong to nobody, and nobody must begin their points meanwhile.
        while any(each.is_ending for each in self._attended.values()):
            await self._changed.wait()
        self._wire = wire
        kept = [each.kept() for each in self._attended.values()]
        self.send(
            {
                "kind": "ready",
                "version": protocol.VERSION,
                "pid": os.getpid(),
                "release": __version__,
                "surroundings": self._surroundings,
                "runs": kept,
            }
        )
        try:
            while (line := await wire.receive()) is not None:
                message = protocol.to_keeper(line)
                if message["kind"] == "stop":
                    self._is_stopping = True
                    break
                self._heed(message)
        finally:
            self._wire = None
            for attended in self._attended.values():
                attended.leave_alone()

    async def _next(self) -> Wire | None:
        """The next daemon; None if nothing needs one any more, or none came for too long."""
        deadline = asyncio.get_running_loop().time() + self._patience_seconds
        try:
            async with asyncio.timeout_at(deadline):
                while not self._callers:
                    if all(each.is_recorded for each in self._attended.values()):
                        return None
                    await self._changed.wait()
        except TimeoutError:
            _log.error("no daemon has come: trials are killed", trials=len(self._attended))
            return None
        return self._callers.popleft()

    def _heed(self, message: protocol.ToKeeper) -> None:
        match message["kind"]:
            case "begin":
                self._begin(message)
            case "forget":
                self._forget(message["key"])
            case "end" | "prune" | "note" | "reply":
                # It may have ended meanwhile: the daemon is being told so.
                if attended := self._attended.get(message["key"]):
                    self._heed_run(attended, message)
            case "flush":
                self._do(self._flush())
            case "chore":
                self._do(self._take_step(message))
            case "ping":
                self.send({"kind": "pong"})
            case "keep" | "resize" | "log":
                self._adjust(message)

    def _heed_run(
        self, attended: Attended, message: protocol.End | protocol.Prune | protocol.Note | protocol.Reply
    ) -> None:
        if message["kind"] != "end":
            attended.heed(message)
            return
        attended.end()
        # One that has ended needs no more than this.
        self._forget(attended.key)

    def _adjust(self, message: protocol.Keep | protocol.Resize | protocol.Log) -> None:
        match message["kind"]:
            case "keep":
                self._studies = message["studies"]
                self._runs.keep(self._studies)
            case "resize":
                self._runs.resize(message["slots"])
            case "log":
                log.configure(message["log_format"], host=self._host)

    def _begin(self, message: protocol.Begin) -> None:
        run = message["run"]
        attended = Attended(
            key=run.key, context=run.context, service=self, is_judged=message["is_judged"]
        ).watching(message["watched"])
        self._attended[run.key] = attended
        attended.task = self._do(self._runs.run(run, attended.watcher()))
        # Not in the task itself: one that is cancelled before its first step takes none.
        attended.task.add_done_callback(functools.partial(self._end_run, attended))
        if run.after is not None:
            self._forget(run.after)

    def _do(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _end_run(self, attended: Attended, task: asyncio.Task[Ending]) -> None:
        # One that was killed on demand needs no record: nobody asks for it any more.
        attended.is_ending |= self._is_stopping
        self._do(self._conclude(attended, attended.last_of(task)))
        if self._studies is not None:
            # It may have begun after its study was let go, and so have made a process that nobody needs.
            self._runs.keep(self._studies)

    async def _conclude(self, attended: Attended, last: protocol.Last) -> None:
        """Says how it ended once that is on the disk, and soon if the disk does not take it."""
        if not attended.is_ending:
            self._do(self._record(attended, last))
            try:
                async with asyncio.timeout(RECORD_SECONDS):
                    await attended.tried.wait()
            except TimeoutError:
                self._note_outage(attended, OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        attended.conclude(last)
        if attended.is_ending:
            self._forget(attended.key)
        self._note_change()

    async def _record(self, attended: Attended, last: protocol.Last) -> None:
        content = protocol.record({**attended.kept(), "last": last})
        attended.has_record = True
        await self._put(attended, content, is_synced=False)
        # A daemon that hangs, or has no disk, does not say so, and one that is gone says nothing at all.
        if not await attended.is_forgotten(SYNC_SECONDS):
            attended.is_recorded = await self._put(attended, content, is_synced=True)
            self._note_change()

    async def _put(self, attended: Attended, content: bytes, *, is_synced: bool) -> bool:
        """Puts it on the disk, and tries that until it is forgotten."""
        while not attended.forgotten.is_set():
            try:
                await self._records.put(attended.key, content, is_synced=is_synced)
            except OSError as error:
                self._note_outage(attended, error)
                attended.tried.set()
                await attended.is_forgotten(RETRY_SECONDS)
            else:
                attended.tried.set()
                return True
        return False

    def _note_outage(self, attended: Attended, error: OSError) -> None:
        self._disk.note(error, str(self._records.path(attended.key)))

    def _forget(self, key: str) -> None:
        attended = self._attended.get(key)
        if attended is not None and attended.last is not None:
            del self._attended[key]
            attended.forgotten.set()
            if attended.has_record:
                # Behind a writing that is under way.
                self._records.remove(key)

    async def _flush(self) -> None:
        await trial_log.all_written()
        self.send({"kind": "flushed"})

    async def _take_step(self, chore: protocol.DoChore) -> None:
        step: protocol.ChoreStep = {
            "kind": "step", "number": chore["number"], "found": [], "is_done": True, "error": None,
        }  # fmt: skip
        try:
            step["found"], step["is_done"] = await asyncio.to_thread(
                self._chores.step, chore["number"], chore["work"], chore["of"]
            )
        except OSError as error:
            step["error"] = [*error.args]
        self.send(step)

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _end(self) -> None:
        self._is_stopping = True
        # At once, whatever grace a run has: nobody waits for it any more.
        await tree.kill_all()
        for attended in self._attended.values():
            attended.end()
        running = [each.task for each in self._attended.values() if each.task is not None]
        await asyncio.gather(*running, return_exceptions=True)
        # Not long if the disk hangs.
        await asyncio.wait([self._records.settled()], timeout=WRITTEN_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runs.close()
        await process_table.kill_all()
        await trial_log.all_written()


async def hello_of(wire: Wire) -> protocol.Hello | None:
    """None if nobody is there who speaks as a daemon does."""
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            line = await wire.receive()
    except TimeoutError:
        return None
    message = None if line is None else protocol.to_keeper(line)
    return message if message is not None and message["kind"] == "hello" else None
