"""Process trees as the system's table has them: found by descent, session, and a mark in the environment.

It finds the trees that have no control group, and processes that left theirs. The keeper adopts processes
that its trials leave behind (it is their subreaper), so everything they start stays below it. One kind of
process cannot be told apart: it has left its session, its parents have ended, and it has removed the mark
from its environment. It is not found when one trial is killed; it is when the keeper stops.

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

_ANY_MARK = f"{MARK_VARIABLE}=".encode()

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
    adopted = _adopted_ones(known)
    if adopted is not None and not adopted:
        # Its main process has ended: processes that it left would have come to us.
        return True
    variable = f"{MARK_VARIABLE}={mark}".encode()

    def of_trial(processes: dict[int, Process]) -> set[int]:
        # The main process is gone: one of its number is another one, and so is the session of that.
        session = None if pid in processes else pid
        return _trees(
            processes, known, lambda pid: processes[pid].session == session or _has_mark(pid, variable)
        )

    return await _kill_until_gone(of_trial, known)


async def kill_strays(mark: str, known: Collection[int]) -> bool:
    """Kills the processes with this mark that left the control group of their trial, once that is empty.

    A trial may move its processes into any other group of the daemon's. False if something is left.
    """
    adopted = _adopted_ones(known)
    variable = f"{MARK_VARIABLE}={mark}".encode()
    # A process outside of its group lost its parents with the group.
    if adopted is not None and not await _is_any_marked(adopted, variable):
        return True
    return await _kill_until_gone(
        lambda processes: _trees(processes, known, lambda pid: _has_mark(pid, variable)), known
    )


def _trees(processes: dict[int, Process], known: Collection[int], belongs: Callable[[int], bool]) -> set[int]:
    """The processes below us that belong to a trial, with all below them."""
    found = {each for each in _below(processes, os.getpid()) if belongs(each)}
    # By descent too: a child of a living parent may have left the session and removed the mark.
    trees = found.union(*(_below(processes, each) for each in found))
    # A process that is forked from a server has the server's mark until it becomes its own trial.
    return trees - set(known)


async def _is_any_marked(pids: Collection[int], variable: bytes) -> bool:
    # Most trials leave nothing: the way to a thread and back would cost them more than all the rest.
    return bool(pids) and await asyncio.to_thread(_may_have_mark, pids, variable)


def _may_have_mark(pids: Collection[int], variable: bytes) -> bool:
    """Whether one of these, or of their descendants, has the mark, or shows no environment just now."""
    queue = list(pids)
    while queue:
        pid = queue.pop()
        with contextlib.suppress(OSError):
            shown = Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
            if variable in shown or (shown == [b""] and not _is_zombie(pid)):
                return True
            # Another trial's: it is in that one's group, or is found when that one ends.
            if not any(each.startswith(_ANY_MARK) for each in shown):
                queue += _children_of(pid)
    return False


def _is_zombie(pid: int) -> bool:
    return Path("/proc", str(pid), "stat").read_bytes().rpartition(b")")[2].split()[0] in b"ZX"


def reap_adopted(known: Collection[int]) -> None:
    """Takes from the table the processes that trials left to us and that have ended since the last call.

    A child that is new among ours is left: it may be somebody's main process, who is about to be told so.
    """
    dead = _dead_child()
    if dead is None or dead in known:
        # Its owner is about to take that one, and any other behind it comes to us next time.
        return
    adopted = _adopted_ones(known) or set()
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


async def kill_all(known: Collection[int] = ()) -> bool:
    """Kills all processes that are left below us. False if something is left.

    The ends of ``known`` ones are for those who wait for them.
    """
    return await _kill_until_gone(lambda processes: _below(processes, os.getpid()), known)


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


def _adopted_ones(known: Collection[int]) -> set[int] | None:
    """Our children, dead or alive, that are none of these; None if that cannot be told.

    For the event loop's thread: the loop takes ends itself, and would do so while another thread lists.
    """
    try:
        with _children_lock:
            # None is missed: nobody takes one off meanwhile.
            return _children_of(os.getpid()) - set(known)
    except OSError:
        # A thread has ended meanwhile, and another one has its children.
        return None


def _children_of(pid: int) -> set[int]:
    """Raises OSError if the kernel does not tell, or a thread ends meanwhile."""
    children: set[int] = set()
    # Each trial's end waits for this: with paths it takes twice as long.
    for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
        with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:  # noqa: PTH123
            children.update(map(int, file.read().split()))
    return children


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
