"""Process trees without control groups: found by descent, by session, and by a mark in the environment.

The daemon adopts what its trials leave behind (it is their subreaper), so everything they start stays below
it. What cannot be told apart: a process that has left its session, whose parents have ended, and that has
removed the mark from its environment, is not found when one trial is killed; it is when the daemon stops.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tuned.worker.forkserver import MARK_VARIABLE

_PR_SET_CHILD_SUBREAPER = 36


#: So many looks in a row must find nothing: what forks or becomes another program just then shows no mark.
QUIET_LOOKS = 2


#: How often the tree is looked at again for what was forked meanwhile.
MOST_ROUNDS = 50


#: Whom ``reap_adopted`` saw.
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


def kill_tree(pid: int, mark: str, known: Collection[int]) -> bool:
    """Kills what one trial started and left when its main process ``pid`` ended, whose end its caller took.

    ``known`` are the main processes of all trials: their ends belong to their callers. False if something is
    left.
    """
    children = _children()
    if children is not None and children <= set(known):
        # Its main process has ended: whatever it left would have come to us.
        return True
    variable = f"{MARK_VARIABLE}={mark}".encode()

    def of_trial(processes: dict[int, Process]) -> set[int]:
        ours = _below(processes, os.getpid())
        marked = {each for each in ours if processes[each].session == pid or _has_mark(each, variable)}
        return (_below(processes, pid) | marked) - {pid}

    return _kill_until_gone(of_trial, known)


def reap_adopted(known: Collection[int]) -> None:
    """Takes from the table what trials left to us and has ended since the last call.

    Not what is new among our children: somebody may be about to be told that it is theirs, and known then.
    """
    dead = _dead_child()
    if dead is None or dead in known:
        # Somebody is about to take that one, and whatever may be behind it comes to us next time.
        return
    adopted = (_children() or set()) - set(known)
    for pid in adopted & _adopted:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    _adopted.clear()
    _adopted.update(adopted)


def _dead_child() -> int | None:
    """One that has ended and stays in the table, if there is any."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def kill_all() -> bool:
    """Kills whatever is left below the daemon. False if something is left."""
    return _kill_until_gone(lambda processes: _below(processes, os.getpid()), ())


def kill_installation(installation_id: str) -> bool:
    """Kills what the trials of an earlier daemon of this installation left. False if something is left."""
    variable = f"{MARK_VARIABLE}={installation_id}/".encode()
    return _kill_until_gone(lambda processes: {each for each in processes if _has_mark(each, variable)}, ())


def _kill_until_gone(find: Callable[[dict[int, Process]], set[int]], known: Collection[int]) -> bool:
    quiet_looks = 0
    killed: set[tuple[int, int]] = set()
    for round_ in range(MOST_ROUNDS):
        processes = _processes()
        # What was killed shows no mark any more, long before it is gone if it has much memory to give back.
        found = find(processes) | {
            each.pid for each in processes.values() if (each.pid, each.began) in killed
        }
        killed.update((pid, processes[pid].began) for pid in found)
        for pid in found:
            if processes[pid].is_zombie:
                _reap(processes[pid], known)
            else:
                # Stopped first: what is about to fork cannot outrun the kill.
                _signal(pid, signal.SIGSTOP)
        for pid in found:
            _signal(pid, signal.SIGKILL)
        quiet_looks = quiet_looks + 1 if all(processes[pid].is_zombie for pid in found) else 0
        if quiet_looks == QUIET_LOOKS:
            return True
        # The kernel needs a moment to take them down, or to finish a fork.
        time.sleep(0.001 * (round_ + 1))
    return False


def _reap(process: Process, known: Collection[int]) -> None:
    """Takes an adopted process from the table; the ends of trials' main processes are for their callers."""
    if process.parent == os.getpid() and process.pid not in known:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _children() -> set[int] | None:
    """Ours, dead or alive, and none is missed, for only we take them off; None if the kernel does not say."""
    try:
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
