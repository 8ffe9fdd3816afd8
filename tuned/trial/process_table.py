"""Process trees without control groups: found by descent, by session, and by a mark in the environment.

The daemon adopts processes that its trials leave behind (it is their subreaper), so everything they start
stays below it. One kind of process cannot be told apart: it has left its session, its parents have ended, and
it has removed the mark from its environment. It is not found when one trial is killed; it is when the daemon
stops.

A look at the system's table runs in a thread, and the pauses between two looks in the event loop. It must
never take the end of a trial's main process: that belongs to the caller who waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from tuned.worker.forkserver import MARK_VARIABLE

_PR_SET_CHILD_SUBREAPER = 36

#: So many looks in a row must find nothing: a process that just forks or executes shows no mark.
QUIET_LOOKS = 2

#: How long killed processes may take to be gone: the kernel takes back many GiB in seconds, not at once.
GONE_SECONDS = 5.0

#: The longest pause between two looks.
_PAUSE_SECONDS = 0.05

#: Held to list our children, and to take one off: the kernel may skip one while another is taken off.
_children_lock = threading.Lock()

#: The children that ``reap_adopted`` saw.
_adopted: set[int] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One line of the system's table."""

    pid: int
    parent: int
    session: int
    #: When it began: with its id, what nothing else has.
    began: int
    is_zombie: bool


def become_subreaper() -> None:
    """From now on orphans among our descendants become our children."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


async def kill_tree(pid: int, mark: str, known: Collection[int]) -> bool:
    """Kills the processes that one trial left when its main process ``pid`` ended, whose end its caller took.

    ``known`` are the main processes of all trials, and changes meanwhile: their ends belong to their callers.
    False if something is left.
    """
    # Here and not in a thread: the loop takes ends itself, and would do so while the thread lists.
    children = _children()
    if children is not None and children <= set(known):
        # Its main process has ended: processes that it left would have come to us.
        return True
    variable = f"{MARK_VARIABLE}={mark}".encode()

    def of_trial(processes: dict[int, Process]) -> set[int]:
        # The main process is gone: one of its number is another one, and so is the session of that.
        session = None if pid in processes else pid
        ours = _below(processes, os.getpid())
        marked = {each for each in ours if processes[each].session == session or _has_mark(each, variable)}
        # By descent too: a child of a living parent may have left the session and removed the mark.
        tree = marked.union(*(_below(processes, each) for each in marked))
        # A process that is forked from a server has the server's mark until it becomes its own trial.
        return tree - set(known)

    return await _kill_until_gone(of_trial, known)


def reap_adopted(known: Collection[int]) -> None:
    """Takes from the table the processes that trials left to us and that have ended since the last call.

    A child that is new among ours is left: it may be somebody's main process, who is about to be told so.
    """
    dead = _dead_child()
    if dead is None or dead in known:
        # Its owner is about to take that one, and any other behind it comes to us next time.
        return
    adopted = (_children() or set()) - set(known)
    for pid in adopted & _adopted:
        _take(pid)
    _adopted.clear()
    _adopted.update(adopted)


def _dead_child() -> int | None:
    """One that has ended and stays in the table, if there is any."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


async def kill_all() -> bool:
    """Kills all processes that are left below the daemon. False if something is left."""
    return await _kill_until_gone(lambda processes: _below(processes, os.getpid()), ())


async def kill_installation(installation_id: str) -> bool:
    """Kills processes that an earlier daemon of this installation left. False if something is left."""
    variable = f"{MARK_VARIABLE}={installation_id}/".encode()
    return await _kill_until_gone(
        lambda processes: {each for each in processes if _has_mark(each, variable)}, ()
    )


async def _kill_until_gone(find: Callable[[dict[int, Process]], set[int]], known: Collection[int]) -> bool:
    hunt = _Hunt(find=find, known=known)
    deadline = time.monotonic() + GONE_SECONDS
    quiet_looks = looks = 0
    while True:
        quiet_looks = quiet_looks + 1 if await asyncio.to_thread(hunt.look) else 0
        if quiet_looks == QUIET_LOOKS:
            return True
        if time.monotonic() > deadline:
            return False
        looks += 1
        # The kernel needs a moment to take them down, or to finish a fork.
        await asyncio.sleep(min(0.001 * looks, _PAUSE_SECONDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hunt:
    """Kills the processes that ``find`` names; one look at a time, each in whatever thread."""

    find: Callable[[dict[int, Process]], set[int]]
    known: Collection[int]
    #: Ids and begins. A killed process loses its mark at once, and may take long to exit.
    killed: set[tuple[int, int]] = field(default_factory=set)

    def look(self) -> bool:
        """Kills what is found now. True if nothing of it lives."""
        processes = _processes()
        found = self.find(processes) | {
            each.pid for each in processes.values() if (each.pid, each.began) in self.killed
        }
        self.killed.update((pid, processes[pid].began) for pid in found)
        for pid in found:
            if processes[pid].is_zombie:
                _reap(processes[pid], self.known)
            else:
                # Stopped first: a process that is about to fork cannot outrun the kill.
                _signal(pid, signal.SIGSTOP)
        living = [pid for pid in found if not processes[pid].is_zombie]
        for pid in living:
            _signal(pid, signal.SIGKILL)
        return not living


def _reap(process: Process, known: Collection[int]) -> None:
    """Takes an adopted process from the table; the ends of trials' main processes are for their callers."""
    if process.parent == os.getpid() and process.pid not in known:
        _take(process.pid)


def _take(pid: int) -> None:
    with _children_lock, contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _children() -> set[int] | None:
    """Ours, dead or alive, and none is missed: nobody takes one off meanwhile. None if it cannot be told."""
    try:
        with _children_lock:
            lists = [path.read_bytes() for path in Path("/proc/self/task").glob("*/children")]
    except OSError:
        # A thread has ended meanwhile, and another one has its children.
        return None
    return {int(pid) for each in lists for pid in each.split()} if lists else None


def _processes() -> dict[int, Process]:
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 (names, not paths)
        if name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                # The command's name, in parentheses, may hold anything.
                stat = Path("/proc", name, "stat").read_text(encoding="latin-1").rpartition(")")[2].split()
                found[int(name)] = Process(
                    pid=int(name),
                    parent=int(stat[1]),
                    session=int(stat[3]),
                    began=int(stat[19]),
                    is_zombie=stat[0] in "ZX",
                )
    return found


def _below(processes: dict[int, Process], root: int) -> set[int]:
    children = defaultdict(list)
    for process in processes.values():
        children[process.parent].append(process.pid)
    below: set[int] = set()
    queue = [root]
    while queue:
        fresh = [child for child in children[queue.pop()] if child not in below]
        below.update(fresh)
        queue.extend(fresh)
    return below


def _has_mark(pid: int, variable: bytes) -> bool:
    try:
        environment = Path("/proc", str(pid), "environ").read_bytes()
    except OSError:
        return False
    return any(each.startswith(variable) for each in environment.split(b"\0"))
