"""One run from its beginning until it is forgotten, and all that a daemon is to hear of it.

It must never wait for a daemon: without one, it keeps what the next one has to know, within bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

import structlog

from tuned.domain.ending import MOST_STEPS
from tuned.trial.curve import Curve
from tuned.trial.keeping import Verdict, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from tuned.domain.ending import Ending
    from tuned.keeper import protocol
    from tuned.trial.curve import Report

_log: FilteringBoundLogger = structlog.get_logger()

#: How long reports wait while the daemon does not read.
PAUSE_SECONDS = 0.05


class Service(Protocol):
    """The way to the daemon, if there is one."""

    @property
    def is_connected(self) -> bool: ...

    @property
    def is_clogged(self) -> bool: ...

    def send(self, message: protocol.ToDaemon) -> None: ...


@dataclass(slots=True, kw_only=True, eq=False)
class Attended:
    """Belongs to the event loop's thread."""

    key: str
    #: The daemon's own.
    context: object
    service: Service
    is_judged: bool
    #: When it began, by the clock of this process.
    began: float = field(default_factory=time.monotonic)
    curve: Curve = field(default_factory=Curve)
    #: The daemon's own too.
    notes: Mapping[str, object] = field(default_factory=dict)
    verdict: Verdict = field(init=False)
    task: asyncio.Task[Ending] | None = None
    #: A daemon has asked for its death.
    is_ending: bool = False
    #: The last message about it, once it is gone.
    last: protocol.Last | None = None
    #: Its ending is on the disk, or the disk has refused it once.
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    #: It has, or may soon have, a record.
    has_record: bool = False
    #: That outlives a power cut.
    is_recorded: bool = False
    #: A daemon has its ending.
    forgotten: asyncio.Event = field(default_factory=asyncio.Event)
    #: Those that the daemon has not; while it does not read, the oldest of very many are left out.
    reports: deque[Report] = field(default_factory=lambda: deque(maxlen=MOST_STEPS))
    flushing: asyncio.Handle | None = None
    #: Waits for the reply.
    question: str | None = None
    answer: asyncio.Future[object] | None = None

    def __post_init__(self) -> None:
        self.verdict = _Watched(self._tell_withdrawn)

    @classmethod
    def recorded(cls, kept: protocol.KeptRun, service: Service) -> Self:
        """One that ended in the life of an earlier keeper."""
        began = time.monotonic() - kept["seconds"]
        found = cls(
            key=kept["key"], context=kept["context"], service=service, is_judged=kept["is_judged"],
            began=began, notes=kept["notes"], last=kept["last"], has_record=True, is_recorded=True,
        )  # fmt: skip
        found.curve.restore(kept["curve"])
        return found

    def watching(self, objective: int) -> Self:
        """With a curve of this objective's values."""
        self.curve = Curve(self._note, watched=objective)
        return self

    def watcher(self) -> Watcher:
        return Watcher(
            curve=self.curve,
            answer=self._ask,
            verdict=self.verdict if self.is_judged else None,
            on_unforked=self._tell_unforked,
        )

    def kept(self) -> protocol.KeptRun:
        """All that another daemon must know of it."""
        return {
            "key": self.key,
            "context": self.context,
            "seconds": time.monotonic() - self.began,
            "is_judged": self.is_judged,
            "curve": self.curve.state,
            "notes": self.notes,
            "pruning": self.verdict.pruning if self.verdict.is_given else None,
            "question": self.question,
            "last": self.last,
        }

    def end(self) -> None:
        """Kills it."""
        if self.task is not None and self.last is None:
            self.is_ending = True
            self.task.cancel()

    def heed(self, message: protocol.Prune | protocol.Note | protocol.Reply) -> None:
        if message["kind"] == "prune":
            self.verdict.give(message["pruning"])
        elif message["kind"] == "note":
            self.notes = message["notes"]
        elif self.answer is not None and not self.answer.done():
            self.answer.set_result(message["answer"])

    def leave_alone(self) -> None:
        """The daemon is gone: the next one learns of all reports by the curve."""
        self.reports.clear()

    def conclude(self, last: protocol.Last) -> None:
        """Says how it ended, and is gone with all its tree."""
        self._flush()
        self.last = last
        self.service.send(last)

    async def is_forgotten(self, seconds: float) -> bool:
        """Waits until it is, but not longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.forgotten.wait()
        return self.forgotten.is_set()

    def last_of(self, task: asyncio.Task[Ending]) -> protocol.Last:
        """The last message about it, by what became of its task."""
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

    def _flush(self) -> None:
        """Sends the reports that wait."""
        if self.flushing is not None:
            self.flushing.cancel()
            self.flushing = None
        if self.reports:
            reports = [(report.step, list(report.values)) for report in self.reports]
            self.reports.clear()
            self.service.send({"kind": "reports", "key": self.key, "reports": reports})

    def _note(self, report: Report) -> None:
        if not self.service.is_connected:
            return
        self.reports.append(report)
        if self.flushing is None:
            # All of what was read at once goes as one message.
            self.flushing = asyncio.get_running_loop().call_soon(self._flush_if_read)

    def _flush_if_read(self) -> None:
        if self.service.is_clogged:
            self.flushing = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._flush_if_read)
        else:
            self._flush()

    async def _ask(self, question: str) -> object:
        self.question, self.answer = question, asyncio.get_running_loop().create_future()
        # It asks by all that it has reported.
        self._flush()
        self.service.send({"kind": "question", "key": self.key, "question": question})
        try:
            return await self.answer
        finally:
            self.question = None

    def _tell_unforked(self, reason: str) -> None:
        self.service.send({"kind": "unforked", "key": self.key, "reason": reason})

    def _tell_withdrawn(self) -> None:
        self.service.send({"kind": "withdrawn", "key": self.key})


class _Watched(Verdict):
    """A verdict of which somebody hears that it came too late."""

    def __init__(self, on_withdrawn: Callable[[], object]) -> None:
        super().__init__()
        self._on_withdrawn = on_withdrawn

    def withdraw(self) -> None:
        super().withdraw()
        self._on_withdrawn()
