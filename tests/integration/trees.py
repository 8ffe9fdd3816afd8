"""Programs that try to outlive their trial, and a place for the control groups of tests."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import until
from tuned import cgroup

#: A daemon by the book: forks, leaves the session, forks again; then says who it is, and stays.
DOUBLE_FORK = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open(sys.argv[1] + ".new", "w") as file:
            file.write(str(os.getpid()))
        os.rename(sys.argv[1] + ".new", sys.argv[1])
        time.sleep(600)
    os._exit(0)
os.wait()
"""


def double_fork(pid_file: Path) -> str:
    """For sh: returns when the second child is on its own, or is about to be."""
    return shlex.join([sys.executable, "-S", "-c", DOUBLE_FORK, str(pid_file)])


def staying(pid_file: Path) -> str:
    """For sh, with exec or in the background: says who it is, and stays."""
    return f"sh -c 'echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 600'"


def pid_in(file: Path) -> int:
    """Once the process has said who it is."""
    return int(
        until(lambda: file.exists() and file.read_text(), what=f"a process to write {file}", seconds=60)
    )


@contextmanager
def cgroup_root() -> Iterator[tuple[cgroup.Root, str]]:
    """A root and a name for groups; skips the test where there are no groups. Leaves none."""
    root = cgroup.find()
    if root is None:
        pytest.skip("needs cgroup v2, writable")
    name = f"test-{uuid.uuid4().hex}"
    try:
        yield root, name
    finally:
        root.kill_leftovers(name)
        root.remove()
