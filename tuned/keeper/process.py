"""The keeper as a process of its own, seen from the daemon: begun, spoken with, and begun anew if it dies.

Nothing of a run may outlive ``close``. It must never decide what becomes of a run that died with its keeper.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from tuned.disk.trial_log import WRITTEN_SECONDS
from tuned.keeper import protocol
from tuned.keeper.wire import Wire
from tuned.trial.launch import own_environment
from tuned.trial.tree import completely

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine
    from typing import Any

    from structlog.typing import FilteringBoundLogger

    from tuned.domain.ending import Ending
    from tuned.systemd.log import Format
    from tuned.trial.evaluation import Site
    from tuned.trial.keeping import Run, Watcher

_log: FilteringBoundLogger = structlog.get_logger()


#: How often the keeper is asked whether it is there.
PING_SECONDS = 10.0

#: So long it may be silent, twice in a row: a daemon that was stopped itself finds one answer late.
SILENT_SECONDS = 30.0

#: How long a keeper may take to kill all that is left, and to end.
END_SECONDS = 20.0


class KeeperLost(Exception):
    """The keeper died, and the run with it."""


class KeeperFault(Exception):
    """The keeper has a fault that concerns one run."""


class KeeperProcess:
    """One keeper, or one after the other. Belongs to the event loop's thread."""

    def __init__(self, site: Site, slots: int, log_format: Format) -> None:
        self._site = site
        self._slots = slots
        self._log_format = log_format
        #: None until the first is known.
        self._studies: frozenset[str | None] | None = None
        self._conversation: _Conversation | None = None
        self._beginning = asyncio.Lock()
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Has it ready, and nothing left of an earlier one. Raises OSError if there can be none."""
        await self._ready()

    async def run(self, run: Run, watcher: Watcher) -> Ending:
        """As ``CarryOut``. Raises KeeperLost too."""
        return await (await self._ready()).run(run, watcher)

    def keep(self, studies: Collection[str | None]) -> None:
        wanted = frozenset(studies)
        if wanted != self._studies:
            self._studies = wanted
            self._tell_studies()

    def resize(self, slots: int) -> None:
        if slots != self._slots:
            self._slots = slots
            self._tell({"kind": "resize", "slots": slots})

    def log_as(self, log_format: Format) -> None:
        """The form of its records from now on."""
        self._log_format = log_format
        self._tell({"kind": "log", "log_format": log_format})

    async def written(self) -> None:
        if self._conversation is not None:
            await self._conversation.flushed()

    async def close(self) -> None:
        """Kills all that is left, and waits until the process is gone."""
        self._is_closed = True
        async with self._beginning:
            if self._conversation is not None:
                await self._conversation.end()

    def _renew(self) -> None:
        """Begins another one: it kills at once what a dead one has left."""
        if not self._is_closed:
            task = asyncio.create_task(self._renewed())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _renewed(self) -> None:
        try:
            await self._ready()
        except OSError as error:
            # The next run tries again.
            _log.error("the keeper cannot be begun", error=str(error))
        except KeeperLost:
            pass  # Ended meanwhile.

    def _tell_studies(self) -> None:
        if self._studies is not None:
            self._tell({"kind": "keep", "studies": [*self._studies]})

    def _tell(self, message: protocol.ToKeeper) -> None:
        if self._conversation is not None:
            self._conversation.send(message)

    async def _ready(self) -> _Conversation:
        async with self._beginning:
            if self._is_closed:
                raise KeeperLost("the keeper was ended")
            if self._conversation is None or self._conversation.is_over:
                self._conversation = await _Conversation.begin(self._hello(), self._renew)
                self._tell_studies()
            return self._conversation

    def _hello(self) -> protocol.Hello:
        cgroups = self._site.cgroups
        return {
            "kind": "hello",
            "version": protocol.VERSION,
            "installation": self._site.state.installation_id,
            "lock": str(self._site.state.keeper_lock),
            "cgroups": None if cgroups is None else str(cgroups.path),
            "slots": self._slots,
            "host": self._site.host,
            "log_format": self._log_format,
        }


@dataclass(slots=True, kw_only=True, eq=False)
class _Watched:
    """A run under way, and those in the daemon who hear of it."""

    key: str
    watcher: Watcher
    over: asyncio.Future[Ending | None]
    #: Its rule's word has been passed on.
    is_pruned: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class _Conversation:
    """The talk with one process, from its beginning to its end."""

    def __init__(
        self, process: asyncio.subprocess.Process, wire: Wire, on_over: Callable[[], object]
    ) -> None:
        self._process = process
        self._on_over = on_over
        self._wire = wire
        self._watched: dict[str, _Watched] = {}
        #: Those who wait for output to be in the files, in the order of their questions.
        self._flushes: list[asyncio.Future[None]] = []
        self._listening: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        #: It said something since it was asked.
        self._heard = asyncio.Event()
        self._is_ending = False

    @classmethod
    async def begin(cls, hello: protocol.Hello, on_over: Callable[[], object]) -> _Conversation:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "tuned.keeper.main", str(theirs.fileno()),
                    cwd="/", env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),), start_new_session=True,
                )  # fmt: skip
            except BaseException:
                ours.close()
                raise
        begun = cls(process, await Wire.on(ours), on_over)
        begun.send(hello)
        try:
            line = await begun._wire.receive()
        except BaseException:
            begun._wire.close()
            raise
        if line is None:
            begun._wire.close()
            raise OSError(f"the keeper ended with status {await process.wait()} as it began")
        begun._listening = asyncio.create_task(begun._listen())
        begun._watching = asyncio.create_task(begun._watch())
        return begun

    @property
    def is_over(self) -> bool:
        return self._listening is None or self._listening.done()

    def send(self, message: protocol.ToKeeper) -> None:
        self._wire.send(protocol.encoded(message))

    async def run(self, run: Run, watcher: Watcher) -> Ending:
        if self.is_over:
            raise KeeperLost(self._loss)
        over: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()
        watched = self._watched[run.key] = _Watched(key=run.key, watcher=watcher, over=over)
        is_judged = watcher.verdict is not None
        self.send({"kind": "begin", "key": run.key, "run": run, "is_judged": is_judged})
        if is_judged:
            self._do(watched, self._prune(watched))
        try:
            ending = await asyncio.shield(over)
        except asyncio.CancelledError:
            self.send({"kind": "end", "key": run.key})
            await completely(_until_done(over))
            raise
        finally:
            for task in watched.tasks:
                task.cancel()
        if ending is None:
            raise KeeperLost(self._loss)
        return ending

    async def flushed(self) -> None:
        """Waits until all output of runs that have ended is in the files; not long if the disk hangs."""
        if self.is_over:
            return
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append(flushed)
        self.send({"kind": "flush"})
        await asyncio.wait([flushed], timeout=WRITTEN_SECONDS)

    async def end(self) -> None:
        self._is_ending = True
        self.send({"kind": "stop"})
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            _log.error("keeper does not end", pid=self._process.pid)
            self._kill()
            await self._process.wait()
        if self._listening is not None:
            await asyncio.wait([self._listening])

    @property
    def _loss(self) -> str:
        return f"the process that runs the trials (pid {self._process.pid}) ended"

    async def _listen(self) -> None:
        try:
            while (line := await self._wire.receive()) is not None:
                message = protocol.to_daemon(line)
                self._heard.set()
                if message["kind"] == "ready" or message["kind"] == "pong":
                    continue
                if message["kind"] == "flushed":
                    self._take_flush()
                elif watched := self._watched.get(message["key"]):
                    self._hear(watched, message)
        finally:
            # If it lives all the same, it ends now.
            self._wire.close()
            if self._watching is not None:
                self._watching.cancel()
            if not self._is_ending:
                _log.error("keeper gone", pid=self._process.pid, trials=len(self._watched))
            for watched in [*self._watched.values()]:
                self._finish(watched, KeeperLost(self._loss))
            while self._flushes:
                self._take_flush()
            self._on_over()

    async def _watch(self) -> None:
        """Kills a process that hangs: another one is begun as if it had died."""
        while True:
            if not await self._is_heard() and not await self._is_heard():
                break
            await asyncio.sleep(PING_SECONDS)
        _log.error("keeper hangs", pid=self._process.pid)
        self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _is_heard(self) -> bool:
        self._heard.clear()
        self.send({"kind": "ping"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_SECONDS):
                await self._heard.wait()
        return self._heard.is_set()

    def _hear(self, watched: _Watched, message: protocol.OfRun) -> None:
        watcher = watched.watcher
        match message["kind"]:
            case "reports":
                for step, values in message["reports"]:
                    watcher.curve.put(step, tuple(values))
            case "question":
                self._do(watched, self._reply(watched, message["question"]))
            case "unforked":
                watcher.on_unforked(message["reason"])
            case "withdrawn":
                assert watcher.verdict is not None
                watched.is_pruned = False
                watcher.verdict.withdraw()
                self._do(watched, self._prune(watched))
            case "ended":
                self._finish(watched, message["ending"])
            case "unbegun":
                error = OSError(*message["arguments"])
                error.filename = message["filename"]
                self._finish(watched, error)
            case "failed":
                self._finish(watched, KeeperFault(message["reason"]))

    def _finish(self, watched: _Watched, outcome: Ending | Exception | None) -> None:
        del self._watched[watched.key]
        if isinstance(outcome, Exception):
            watched.over.set_exception(outcome)
            # Nobody may be left to hear it.
            watched.over.exception()
        else:
            watched.over.set_result(outcome)

    def _take_flush(self) -> None:
        flushed = self._flushes.pop(0)
        if not flushed.done():
            flushed.set_result(None)

    async def _prune(self, watched: _Watched) -> None:
        assert watched.watcher.verdict is not None
        await watched.watcher.verdict.given()
        self._pass_on(watched)

    async def _reply(self, watched: _Watched, question: str) -> None:
        answer = await watched.watcher.answer(question)
        # An objective that is told to end must not end before its keeper knows why.
        self._pass_on(watched)
        self.send({"kind": "reply", "key": watched.key, "answer": answer})

    def _pass_on(self, watched: _Watched) -> None:
        verdict = watched.watcher.verdict
        if verdict is not None and verdict.is_given and not watched.is_pruned:
            assert verdict.pruning is not None
            watched.is_pruned = True
            self.send({"kind": "prune", "key": watched.key, "pruning": verdict.pruning})

    @staticmethod
    def _do(watched: _Watched, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        watched.tasks.add(task)
        task.add_done_callback(watched.tasks.discard)


async def _until_done(future: asyncio.Future[Ending | None]) -> None:
    await asyncio.wait([future])


def _environment() -> dict[str, str]:
    """The daemon's without its secrets; the journal knows its standard error by one more."""
    journal = {name: value for name, value in os.environ.items() if name == "JOURNAL_STREAM"}
    return {**own_environment(), **journal}
