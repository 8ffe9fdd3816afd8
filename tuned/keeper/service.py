"""The keeper's side of a conversation: carries out what one daemon asks for, until that is gone or says stop.

Then nothing of it may be left. It must never decide anything about a run but how it ended.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from tuned.disk import trial_log
from tuned.domain.ending import MOST_STEPS
from tuned.keeper import protocol
from tuned.systemd import log
from tuned.trial import process_table, tree
from tuned.trial.curve import Curve
from tuned.trial.keeping import Watcher
from tuned.trial.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from structlog.typing import FilteringBoundLogger

    from tuned.domain.ending import Ending
    from tuned.keeper.runs import Runs
    from tuned.keeper.wire import Wire
    from tuned.trial.curve import Report
    from tuned.trial.keeping import Run

_log: FilteringBoundLogger = structlog.get_logger()

T = TypeVar("T")

#: How long reports wait while the daemon does not read.
PAUSE_SECONDS = 0.05


class Service:
    """Belongs to the event loop's thread."""

    def __init__(self, runs: Runs, wire: Wire, host: str) -> None:
        self._runs = runs
        self._wire = wire
        self._host = host
        self._attended: dict[str, _Attended] = {}
        #: Those that may have runs, as the daemon said last.
        self._studies: list[str | None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def serve(self) -> None:
        try:
            while (line := await self._wire.receive()) is not None:
                message = protocol.to_keeper(line)
                if message["kind"] == "stop":
                    break
                self._heed(message)
        finally:
            await self._end()

    def _heed(self, message: protocol.ToKeeper) -> None:
        match message["kind"]:
            case "begin":
                self._begin(message)
            case "end" | "prune" | "reply":
                # It may have ended meanwhile: the daemon is being told so.
                if attended := self._attended.get(message["key"]):
                    attended.heed(message)
            case "keep":
                self._studies = message["studies"]
                self._runs.keep(self._studies)
            case "resize":
                self._runs.resize(message["slots"])
            case "log":
                log.configure(message["log_format"], host=self._host)
            case "flush":
                self._do(self._flush())
            case "ping":
                self._wire.send(protocol.encoded({"kind": "pong"}))

    def _begin(self, message: protocol.Begin) -> None:
        attended = _Attended(run=message["run"], wire=self._wire, is_judged=message["is_judged"])
        self._attended[message["key"]] = attended
        attended.task = self._do(self._runs.run(attended.run, attended.watcher()))
        # Not in the task itself: one that is cancelled before its first step takes none.
        attended.task.add_done_callback(functools.partial(self._end_run, attended))

    def _do(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _end_run(self, attended: _Attended, task: asyncio.Task[Ending]) -> None:
        del self._attended[attended.key]
        attended.flush()
        self._wire.send(protocol.encoded(attended.last(task)))
        if self._studies is not None:
            # It may have begun after its study was let go, and so have made a process that nobody needs.
            self._runs.keep(self._studies)

    async def _flush(self) -> None:
        await trial_log.all_written()
        self._wire.send(protocol.encoded({"kind": "flushed"}))

    async def _end(self) -> None:
        # At once, whatever grace a run has: nobody waits for it any more.
        await tree.kill_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runs.close()
        await process_table.kill_all()
        await trial_log.all_written()


@dataclass(slots=True, kw_only=True, eq=False)
class _Attended:
    """A run, and what its watcher in the daemon is to hear of it."""

    run: Run
    wire: Wire
    is_judged: bool
    task: asyncio.Task[Ending] | None = None
    verdict: Verdict = field(init=False)
    #: Those that the daemon has not; while it does not read, the oldest of very many are left out.
    reports: deque[Report] = field(default_factory=lambda: deque(maxlen=MOST_STEPS))
    flushing: asyncio.Handle | None = None
    answer: asyncio.Future[object] | None = None

    def __post_init__(self) -> None:
        self.verdict = _Watched(self._tell_withdrawn)

    @property
    def key(self) -> str:
        return self.run.key

    def heed(self, message: protocol.End | protocol.Prune | protocol.Reply) -> None:
        match message["kind"]:
            case "end":
                assert self.task is not None
                self.task.cancel()
            case "prune":
                self.verdict.give(message["pruning"])
            case "reply":
                if self.answer is not None and not self.answer.done():
                    self.answer.set_result(message["answer"])

    def watcher(self) -> Watcher:
        return Watcher(
            curve=Curve(self._note),
            answer=self._ask,
            verdict=self.verdict if self.is_judged else None,
            on_unforked=self._tell_unforked,
        )

    def last(self, task: asyncio.Task[Ending]) -> protocol.OfRun:
        """The last message about it, once its task is done."""
        if task.cancelled():
            return {"kind": "ended", "key": self.key, "ending": None}
        error = task.exception()
        if error is None:
            return {"kind": "ended", "key": self.key, "ending": task.result()}
        if isinstance(error, OSError):
            filename = None if error.filename is None else str(error.filename)
            return {"kind": "unbegun", "key": self.key, "arguments": [*error.args], "filename": filename}
        _log.error("a run failed", key=self.key, exc_info=error)
        return {"kind": "failed", "key": self.key, "reason": f"{type(error).__name__}: {error}"}

    def flush(self) -> None:
        """Sends the reports that wait."""
        if self.flushing is not None:
            self.flushing.cancel()
            self.flushing = None
        if self.reports:
            reports = [(report.step, list(report.values)) for report in self.reports]
            self.reports.clear()
            self._send({"kind": "reports", "key": self.key, "reports": reports})

    def _note(self, report: Report) -> None:
        self.reports.append(report)
        if self.flushing is None:
            # All of what was read at once goes as one message.
            self.flushing = asyncio.get_running_loop().call_soon(self._flush_if_read)

    def _flush_if_read(self) -> None:
        if self.wire.is_clogged:
            self.flushing = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._flush_if_read)
        else:
            self.flush()

    async def _ask(self, question: str) -> object:
        self.answer = asyncio.get_running_loop().create_future()
        # It asks by all that it has reported.
        self.flush()
        self._send({"kind": "question", "key": self.key, "question": question})
        return await self.answer

    def _tell_unforked(self, reason: str) -> None:
        self._send({"kind": "unforked", "key": self.key, "reason": reason})

    def _tell_withdrawn(self) -> None:
        self._send({"kind": "withdrawn", "key": self.key})

    def _send(self, message: protocol.OfRun) -> None:
        self.wire.send(protocol.encoded(message))


class _Watched(Verdict):
    """A verdict of which somebody hears that it came too late."""

    def __init__(self, on_withdrawn: Callable[[], object]) -> None:
        super().__init__()
        self._on_withdrawn = on_withdrawn

    def withdraw(self) -> None:
        super().withdraw()
        self._on_withdrawn()
