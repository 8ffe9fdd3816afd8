"""Threads of this process that a fork would lose: whether its module can be forked at all.

Some libraries for numbers see to their forks: OpenBLAS ends its threads before each one, and begins them anew
when it needs them. Others do not, such as GNU's OpenMP, and a fork waits for their threads for ever.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from pathlib import Path

_TASKS = Path("/proc/self/task")

#: The kernel lists a thread for a moment after it was waited for.
_LISTED_SECONDS = 0.2

#: GNU's, Intel's and LLVM's, under whatever name a wheel brings them along.
_OPENMP = re.compile(rb"/(lib(?:gomp|iomp5|omp))[-.][^/\n]*\n")


def lasting_threads() -> str:
    """The threads that a fork would lose, for people; empty if there are none."""
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:
        return f"threads running ({', '.join(others)})"
    if _is_alone():
        return ""
    _fork()
    deadline = time.monotonic() + _LISTED_SECONDS
    while not _is_alone():
        if time.monotonic() > deadline:
            return f"threads of {_owners()} running"
        time.sleep(0.005)
    return ""


def _is_alone() -> bool:
    return len(list(_TASKS.iterdir())) == 1


def _fork() -> None:
    """Has each library do all that it does for a fork."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    # The module may ignore the ends of its children.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)


def _owners() -> str:
    found = {name.decode() for name in _OPENMP.findall(Path("/proc/self/maps").read_bytes())}
    return f"OpenMP ({', '.join(sorted(found))})" if found else "a library"
