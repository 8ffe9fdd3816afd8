"""The real daemon as operators run it, and what its process costs."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.acceptance.daemon import Daemon

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class Host(Daemon):
    """With the beats of the defaults, not of the tests."""

    interval, expire = "10s", "90s"


@contextlib.contextmanager
def running(
    home: Path, storage: str | None = None, *, slots: int, is_begun_anew: bool = False
) -> Iterator[Host]:
    """``is_begun_anew``: it shares no memory with the process from which other daemons are forked."""
    host = Host(home / "host", storage=storage, slots=slots)
    host.is_begun_anew = is_begun_anew
    try:
        yield host.start()
    finally:
        host.close()


def experiment(
    command: Sequence[str], space: str, *, sampler: str = "random", trials: int | None = None, more: str = ""
) -> str:
    """The text of an experiment file that runs a command."""
    budget = "" if trials is None else f"[budget]\ntrials = {trials}\n"
    return _file(f"command = {json.dumps(list(command))}", space, f"{budget}{more}", sampler=sampler)


def python_experiment(module: Path, space: str, budget: str, *, slots: int) -> str:
    """The text of one that runs the function ``objective`` of a module."""
    objective = f'python = "{module.stem}:objective"\npath = "{module.parent}"'
    return f"parallel = {slots}\n{_file(objective, space, budget)}"


def _file(objective: str, space: str, more: str, *, sampler: str = "random") -> str:
    return f'direction = "minimize"\n[objective]\n{objective}\n{space}\n[sampler]\nname = "{sampler}"\n{more}'


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Of the process itself, and of its children that have ended."""
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    own, children = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return own * _TICK_SECONDS, children * _TICK_SECONDS


def household_seconds(daemon: Daemon) -> float:
    """CPU time of a daemon and its keeper, and of their children that have ended."""
    return sum(sum(cpu_seconds(pid)) for pid in (daemon.pid, *daemon.keepers()))


def own_seconds(daemon: Daemon) -> float:
    """CPU time of a daemon and its keeper alone."""
    return sum(cpu_seconds(pid)[0] for pid in (daemon.pid, *daemon.keepers()))


def mebibytes(pids: Iterable[int]) -> float:
    """Memory of processes; a page that some share counts once, in parts."""
    found = 0.0
    for pid in pids:
        # It may have ended since, or be just ending.
        with contextlib.suppress(OSError):
            lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
            found += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found / 1024


def spans(daemon: Daemon, prefix: str) -> dict[int, tuple[float, float]]:
    """By slot: when its first trial began and its last one ended, of experiments with such names."""
    times: dict[int, list[float]] = {}
    for record in daemon.logged():
        is_end = record["event"] in ("trial started", "trial complete")
        if is_end and str(record.get("experiment", "")).startswith(prefix):
            times.setdefault(record["slot"], []).append(seconds(record))
    return {slot: (min(found), max(found)) for slot, found in times.items()}


def seconds(record: Mapping[str, Any]) -> float:
    """When a record was logged, in seconds since 1970."""
    return dt.datetime.fromisoformat(record["timestamp"]).timestamp()
