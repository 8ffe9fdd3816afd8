"""A main process, a child of ours, and all that descends from it: waited for, and killed whole.

The end of the main process comes by a pidfd, without a thread and without polling.
docs/explanation/isolation.md tells which processes of a tree can be found. A kill must never return before
the tree is gone, or 5 s have passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from tuned.trial import process_table

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Coroutine

    from structlog.typing import FilteringBoundLogger

    from tuned.trial.cgroup import Cgroup

_log: FilteringBoundLogger = structlog.get_logger()

#: The main processes of all trees: the ends of these are for those who wait for them.
_mains: set[int] = set()


class Adopted:
    """A child that came to us when its parent ended, with the part of ``subprocess.Popen`` that is needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        #: As subprocess has it: negative for a signal; None until it is waited for.
        self.returncode: int | None = None

    def wait(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


@dataclass(slots=True, kw_only=True)
class Tree:
    """One process tree. Its owner must kill it, however it ended."""

    main: subprocess.Popen[bytes] | Adopted
    #: ``<installation>/<claim>``: the mark in the environment of all that belongs to it.
    mark: str
    #: Its own; gone once the tree has been killed.
    group: Cgroup | None
    #: How many of its processes the kernel killed for want of memory, if that is known.
    oom_kills: int = 0

    def __post_init__(self) -> None:
        if self.main.returncode is None:
            _mains.add(self.main.pid)

    @property
    def has_ended(self) -> bool:
        """Whether the main process has ended, also if nobody has taken its status yet."""
        ends = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return self.main.returncode is not None or os.waitid(os.P_PID, self.main.pid, ends) is not None

    async def ended(self) -> int:
        """Waits for the main process, takes its status and returns it."""
        if self.main.returncode is None:
            await readable(os.pidfd_open(self.main.pid))
        status = self.main.wait() if self.main.returncode is None else self.main.returncode
        _mains.discard(self.main.pid)
        return status

    async def kill(self, grace_seconds: float = 0.0) -> None:
        """Kills what is left, waits until it is gone, removes its group; SIGTERM first if there is grace."""
        if self.main.returncode is None and grace_seconds:
            self._terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await self.ended()
        if self.main.returncode is None:
            await self._kill_main()
        if self.group is None:
            is_gone = await process_table.kill_tree(self.main.pid, self.mark, _mains)
        else:
            cleared = await self.group.clear()
            self.oom_kills, self.group = cleared.oom_kills, None
            process_table.reap_adopted(_mains)
            is_gone = await process_table.kill_strays(self.mark, _mains) and cleared.is_gone
        if not is_gone:
            _log.error("processes of a trial could not be killed", pid=self.main.pid)

    async def _kill_main(self) -> None:
        """Kills the main process, and with it all that can be named at once; takes its status."""
        if self.group is not None:
            self.group.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.main.pid, signal.SIGKILL)
        # It may not have joined its group yet. Popen's own kill would take its status.
        os.kill(self.main.pid, signal.SIGKILL)
        await self.ended()

    def _terminate(self) -> None:
        if self.group is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.main.pid, signal.SIGTERM)
            return
        for member in self.group.processes():
            # It may have ended since, and the others are told all the same.
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGTERM)


async def kill_all() -> None:
    """Kills all trees at once, with all that is below us. The status of each is still its owner's to take."""
    await process_table.kill_all(_mains)


async def completely(work: Coroutine[Any, Any, None] | asyncio.Future[None]) -> None:
    """Carries it out whole: a cancellation that comes meanwhile goes on only then."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await completely(task)
        raise


async def readable(pidfd: int) -> None:
    """Waits for the end of a process, and closes this descriptor of it."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
