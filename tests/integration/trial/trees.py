"""Programs that try to outlive their trial, and a place for the control groups of tests."""

from __future__ import annotations

import asyncio
import shlex
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import until
from tuned.trial import cgroup


def double_fork(pid_file: Path) -> str:
    """For sh, a daemon by the book: forks, leaves the session, forks again; then says who it is, and stays.

    Uses programs that every user may run, because our Python may lie in a directory of root's.
    """
    return shlex.join(["setsid", "--fork", "sh", "-c", f"{staying(pid_file)} &"])


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
    """A root and a name for groups; skips the test if there are no groups. Leaves none."""
    root = cgroup.find()
    if not isinstance(root, cgroup.Root):
        pytest.skip(f"needs cgroup v2, writable: {root.reason}")
    name = f"test-{uuid.uuid4().hex}"
    try:
        yield root, name
    finally:
        # In a thread: some of those who use this are in an event loop.
        cleaning = threading.Thread(target=lambda: asyncio.run(root.kill_leftovers(name)))
        cleaning.start()
        cleaning.join()
        root.remove()
