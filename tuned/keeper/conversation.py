"""The daemon's talk with one keeper, from its hello until one of them is gone.

A keeper that breaks it off, or hangs, is killed, and all that it ran is lost. This room must never decide
what becomes of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import structlog

from tuned.disk.trial_log import WRITTEN_SECONDS
from tuned.keeper import protocol
from tuned.trial.curve import Curve
from tuned.trial.keeping import Kept
from tuned.trial.tree import completely, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from structlog.typing import FilteringBoundLogger

    from tuned.domain.ending import Ending
    from tuned.keeper.chores import Chore
    from tuned.keeper.wire import Wire
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


@dataclass(slots=True, kw_only=True, eq=False)
class _Watched:
    """A run under way, and those in the daemon who hear of it."""

    key: str
    over: asyncio.Future[Ending | None]
    #: None while it is kept, and nobody has resumed it.
    watcher: Watcher | None = None
    #: Its rule's word has been passed on.
    is_pruned: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass(slots=True, kw_only=True, eq=False)
class _Kept(_Watched):
    """One that an earlier daemon asked for: all of it so far, for the one who resumes it."""

    run: protocol.KeptRun
    #: When it was told, by the loop's clock.
    told_at: float
    curve: Curve = field(default_factory=Curve)

    def note(self, message: protocol.OfRun) -> None:
        match message["kind"]:
            case "reports":
                for step, values in message["reports"]:
                    self.curve.put(step, tuple(values))
            case "question":
                self.run["question"] = message["question"]
            case "withdrawn":
                self.run["pruning"] = None


class Conversation:
    """Belongs to the event loop's thread."""

    def __init__(self, wire: Wire, ready: protocol.Ready, on_over: Callable[[], object]) -> None:
        self.pid = ready["pid"]
        self.release = ready["release"]
        self.surroundings = ready["surroundings"]
        self._on_over = on_over
        self._wire = wire
        #: It says when the process is gone. The process lives: it has just answered.
        self._pidfd = os.pidfd_open(self.pid)
        self._watched: dict[str, _Watched] = {}
        #: Those that nobody has resumed or ended.
        self._kept: dict[str, _Kept] = {}
        #: Those who wait for output to be in the files, in the order of their questions.
        self._flushes: list[asyncio.Future[None]] = []
        #: Those who wait for a step of a chore, by its number.
        self._steps: dict[int, asyncio.Future[protocol.ChoreStep]] = {}
        #: It said something since it was asked.
        self._heard = asyncio.Event()
        self._is_ending = False
        self._is_left = False
        for run in ready["runs"]:
            self._take_up(run)
        self._listening = asyncio.create_task(self._listen())
        self._watching = asyncio.create_task(self._watch())

    @classmethod
    async def begin(cls, wire: Wire, hello: protocol.Hello, on_over: Callable[[], object]) -> Self | None:
        """None if the keeper is gone, or ends as it begins."""
        try:
            wire.send(protocol.encoded(hello))
            line = await wire.receive()
            ready = None if line is None else protocol.to_daemon(line)
            if ready is not None and ready["kind"] == "ready":
                return cls(wire, ready, on_over)
        except ProcessLookupError:
            pass
        except BaseException:
            wire.close()
            raise
        wire.close()
        return None

    @property
    def is_over(self) -> bool:
        return self._listening.done()

    @property
    def is_idle(self) -> bool:
        return not self._watched

    @property
    def kept(self) -> list[Kept]:
        now = asyncio.get_running_loop().time()
        return [
            Kept(
                key=each.key,
                context=each.run["context"],
                seconds=each.run["seconds"] + now - each.told_at,
                has_ended=each.over.done(),
                notes=each.run["notes"],
            )
            for each in self._kept.values()
        ]

    def send(self, message: protocol.ToKeeper) -> None:
        self._wire.send(protocol.encoded(message))

    async def run(self, run: Run, watcher: Watcher) -> Ending:
        if self.is_over:
            raise KeeperLost(self._loss)
        over: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()
        watched = self._watched[run.key] = _Watched(key=run.key, watcher=watcher, over=over)
        is_judged, watched_objective = watcher.verdict is not None, watcher.curve.watched
        self.send(
            {
                "kind": "begin",
                "key": run.key,
                "run": run,
                "is_judged": is_judged,
                "watched": watched_objective,
            }
        )
        return await self._attend(watched, watcher)

    async def resume(self, key: str, watcher: Watcher) -> Ending:
        """Goes on with a kept run. Raises KeeperLost if there is none."""
        kept = self._kept.pop(key, None)
        if kept is None:
            raise KeeperLost("the process that runs the trials does not have it any more")
        kept.watcher = watcher
        watcher.curve.restore(kept.curve.state)
        if watcher.verdict is not None and (pruning := kept.run["pruning"]) is not None:
            kept.is_pruned = True
            watcher.verdict.give(pruning)
        if (question := kept.run["question"]) is not None and not kept.over.done():
            self._do(kept, self._reply(kept, question))
        return await self._attend(kept, watcher)

    async def end_kept(self, key: str) -> None:
        """Kills a kept run, and forgets it."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.send({"kind": "end", "key": key})
            await asyncio.wait([kept.over])

    async def flushed(self) -> None:
        """Waits until all output of runs that have ended is in the files; not long if the disk hangs."""
        if self.is_over:
            return
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append(flushed)
        self.send({"kind": "flush"})
        await asyncio.wait([flushed], timeout=WRITTEN_SECONDS)

    async def step(self, chore: Chore[Any]) -> protocol.ChoreStep:
        """Has it go on with a chore for a moment. Raises KeeperLost."""
        if self.is_over:
            raise KeeperLost(self._loss)
        step: asyncio.Future[protocol.ChoreStep] = asyncio.get_running_loop().create_future()
        self._steps[chore.number] = step
        self.send({"kind": "chore", "number": chore.number, "work": chore.work, "of": chore.of})
        return await step

    async def end(self) -> None:
        """Has it kill all that is left, and waits until it is gone."""
        self._is_ending = True
        self.send({"kind": "stop"})
        _, listening = await asyncio.wait([self._listening], timeout=END_SECONDS)
        if listening:
            _log.error("keeper does not end", pid=self.pid)
            self._kill()
            await asyncio.wait([self._listening])

    def leave(self) -> None:
        """Breaks off, and lets it live."""
        self._is_left = True
        self._wire.close()

    async def _attend(self, watched: _Watched, watcher: Watcher) -> Ending:
        if watcher.verdict is not None:
            self._do(watched, self._prune(watched))
        try:
            ending = await asyncio.shield(watched.over)
        except asyncio.CancelledError:
            self.send({"kind": "end", "key": watched.key})
            await completely(_until_done(watched.over))
            raise
        finally:
            for task in watched.tasks:
                task.cancel()
        if ending is None:
            raise KeeperLost(self._loss)
        return ending

    def _take_up(self, run: protocol.KeptRun) -> None:
        loop = asyncio.get_running_loop()
        kept = _Kept(key=run["key"], over=loop.create_future(), run=run, told_at=loop.time())
        kept.curve.restore(run["curve"])
        self._watched[kept.key] = self._kept[kept.key] = kept
        if (last := run["last"]) is not None:
            self._hear(kept, last)

    @property
    def _loss(self) -> str:
        return f"the process that runs the trials (pid {self.pid}) ended"

    async def _listen(self) -> None:
        try:
            while (line := await self._wire.receive()) is not None:
                message = protocol.to_daemon(line)
                self._heard.set()
                if message["kind"] == "ready" or message["kind"] == "pong":
                    continue
                if message["kind"] == "flushed":
                    self._take_flush()
                elif message["kind"] == "step":
                    self._take_step(message)
                elif watched := self._watched.get(message["key"]):
                    self._hear(watched, message)
        finally:
            await self._break_off()

    async def _break_off(self) -> None:
        self._watching.cancel()
        self._wire.close()
        if not self._is_ending and not self._is_left:
            _log.error("keeper gone", pid=self.pid, trials=len(self._watched))
            # If it lives all the same, it ends now.
            self._kill()
        if self._is_left:
            os.close(self._pidfd)
        else:
            await readable(self._pidfd)
        self._pidfd = -1
        _reap(self.pid)
        for watched in [*self._watched.values()]:
            self._finish(watched, KeeperLost(self._loss))
        while self._flushes:
            self._take_flush()
        for step in [each for each in self._steps.values() if not each.done()]:
            step.set_exception(KeeperLost(self._loss))
        self._on_over()

    async def _watch(self) -> None:
        """Kills a process that hangs: another one is begun as if it had died."""
        while True:
            if not await self._is_heard() and not await self._is_heard():
                break
            await asyncio.sleep(PING_SECONDS)
        _log.error("keeper hangs", pid=self.pid)
        self._kill()

    def _kill(self) -> None:
        if self._pidfd >= 0:
            # A service is killed by its own watchdog.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def _is_heard(self) -> bool:
        self._heard.clear()
        self.send({"kind": "ping"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_SECONDS):
                await self._heard.wait()
        return self._heard.is_set()

    def _hear(self, watched: _Watched, message: protocol.OfRun) -> None:
        match message["kind"]:
            case "ended":
                self._finish(watched, message["ending"])
            case "unbegun":
                error = OSError(*message["arguments"])
                error.filename = message["filename"]
                self._finish(watched, error)
            case "failed":
                self._finish(watched, KeeperFault(message["reason"]))
            case _ if watched.watcher is not None:
                self._tell(watched, watched.watcher, message)
            case _ if isinstance(watched, _Kept):
                watched.note(message)

    def _tell(self, watched: _Watched, watcher: Watcher, message: protocol.OfRun) -> None:
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

    def _take_step(self, message: protocol.ChoreStep) -> None:
        step = self._steps.pop(message["number"], None)
        if step is not None and not step.done():
            step.set_result(message)

    async def _prune(self, watched: _Watched) -> None:
        assert watched.watcher is not None
        assert watched.watcher.verdict is not None
        await watched.watcher.verdict.given()
        self._pass_on(watched)

    async def _reply(self, watched: _Watched, question: str) -> None:
        assert watched.watcher is not None
        answer = await watched.watcher.answer(question)
        # An objective that is told to end must not end before its keeper knows why.
        self._pass_on(watched)
        self.send({"kind": "reply", "key": watched.key, "answer": answer})

    def _pass_on(self, watched: _Watched) -> None:
        assert watched.watcher is not None
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


def _reap(pid: int) -> None:
    """Takes a process that has ended from the table, if it is a child of ours."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
