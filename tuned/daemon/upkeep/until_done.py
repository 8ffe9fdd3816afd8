"""The files for which a daemon was begun, and the end of its work on them: ``tuned --until-done FILE...``.

It owns the copies that go into the spool, and the words on how each file ended. It must never change the
originals, nor end anything: it tells the daemon that nothing is left to do here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING

import structlog

from tuned.disk.arrivals import Refused, Taken, active_path, read_taken
from tuned.domain.states import HostState
from tuned.errors import InvalidInput, Problem
from tuned.experiment.experiment import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.experiments import Experiments
    from tuned.daemon.scheduler import Scheduler
    from tuned.events import Events, Subscription

_log: FilteringBoundLogger = structlog.get_logger()

#: Exit statuses; 0 if nothing is left for this host. The second is that of EX_TEMPFAIL: begin it again later.
REJECTED, DRAINED, ABORTED = 1, 75, 143


def read(paths: Sequence[Path]) -> list[Taken]:
    """The experiment files. Raises InvalidInput with all problems of all of them."""
    files: dict[str, Taken] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            taken = _readable(path)
        except InvalidInput as error:
            problems += error.problems
            continue
        if taken.name in files:
            found = f"a second file of the name {taken.file}"
            problems.append(Problem(file=str(path), key="", found=found, expected="another name"))
        files[taken.name] = taken
    if problems:
        raise InvalidInput(*problems)
    return list(files.values())


class UntilDone:
    """Belongs to the event loop's thread."""

    def __init__(self, files: Sequence[Taken], spool: Path, patience_seconds: float) -> None:
        """An experiment that rests here for ``patience_seconds`` rests for good.

        Without files, the daemon works until a person or a signal ends it.
        """
        self._spool = spool
        self._files = files
        self._names = {taken.file for taken in files}
        self._patience_seconds = patience_seconds
        #: Why files were rejected, by the name of the file.
        self.rejections: dict[str, str] = {}
        #: Since when nothing of an experiment can run here, by the monotonic clock.
        self._resting: dict[str, float] = {}
        self._is_over = False

    def drop(self) -> None:
        """Puts copies into the spool, as a person does it."""
        for taken in self._files:
            scratch = self._spool / f".{taken.file}.tmp"
            scratch.write_bytes(taken.content)
            scratch.rename(self._spool / taken.file)

    async def run(
        self,
        experiments: Experiments,
        scheduler: Scheduler,
        events: Events,
        drain: Callable[[], object],
        interval_seconds: float,
    ) -> None:
        """Drains when nothing is left for this host: each file is over, or its experiment rests for good."""
        if not self._files:
            return
        with events.subscribe() as subscription:
            while not await self._is_nothing_left(experiments, scheduler):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(interval_seconds):
                        await self._hear(subscription)
        self._is_over = True
        _log.info("nothing is left for this host", files=sorted(self._names))
        drain()

    def exit_status(self, ended: HostState) -> int:
        """That of the process, which was drained or aborted."""
        if self.rejections:
            return REJECTED
        if self._is_over or not self._files:
            return 0
        return ABORTED if ended is HostState.ABORTING else DRAINED

    async def _hear(self, subscription: Subscription) -> None:
        """Waits for the next news of an experiment."""
        async for event in subscription:
            if event["event"] == "experiment-rejected" and event["file"] in self._names:
                self.rejections[event["file"]] = event["message"]
            if event["event"].startswith("experiment-"):
                return

    async def _is_nothing_left(self, experiments: Experiments, scheduler: Scheduler) -> bool:
        if experiments.spool_problem:
            return False
        there = await asyncio.to_thread(self._in_spool)
        for name in there:
            self._note(name, _why_idle(name, experiments, scheduler))
        return all(self._rests_for_good(name) for name in there)

    def _in_spool(self) -> list[str]:
        """The files that are not over, by name: each lies in one of these places until it is."""
        return [
            taken.name
            for taken in self._files
            if os.path.lexists(self._spool / taken.file)
            or os.path.lexists(active_path(self._spool, taken.name))
        ]

    def _note(self, name: str, reason: str) -> None:
        if reason:
            self._resting.setdefault(name, time.monotonic())
        else:
            self._resting.pop(name, None)

    def _rests_for_good(self, name: str) -> bool:
        since = self._resting.get(name)
        return since is not None and time.monotonic() - since >= self._patience_seconds


def _readable(path: Path) -> Taken:
    """Raises InvalidInput if it is no experiment file."""
    try:
        taken = read_taken(path)
    except Refused as refusal:
        found, expected = f"that {refusal}", "an experiment file, NAME.toml"
        raise InvalidInput(Problem(file=str(path), key="", found=found, expected=expected)) from None
    except OSError as error:
        found = f"that it cannot be read ({error.strerror})"
        raise InvalidInput(
            Problem(file=str(path), key="", found=found, expected="an experiment file")
        ) from None
    parse(taken.content, str(path))
    return taken


def _why_idle(name: str, experiments: Experiments, scheduler: Scheduler) -> str:
    """Why nothing of a file can run here before a person or another host changes something; else empty."""
    for unopened in experiments.admission.resting:
        if unopened.taken.name == name and unopened.fault is not None:
            return unopened.fault.reason
    search = experiments.search_from(name)
    if search is None or scheduler.running(search.name) or scheduler.code.pending(search.experiment):
        return ""
    return search.status.pause_reason or search.why_idle
