"""One trial's process tree: started, watched, and gone when ``run`` returns.

Whatever way a run ends, nothing of its tree is left, as far as the isolation reaches (docs/trials.md).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuned import gpus
from tuned.experiment import Experiment, text
from tuned.output import Reports, TrialLog
from tuned.pipes import Pipe, Tail, Told
from tuned.resources import UNLIMITED, Resources
from tuned.states import Cause, Ending, Failure
from tuned.tree import Tree, completely

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tuned.cgroup import Root
    from tuned.space import Point

#: What is the daemon's own, or would let a trial speak in its name: never in a trial's environment.
_WITHHELD = frozenset({"CREDENTIALS_DIRECTORY", "JOURNAL_STREAM", "NOTIFY_SOCKET", "INVOCATION_ID"})
_WITHHELD_PREFIXES = ("LISTEN_", "PG", "TUNED_", "WATCHDOG_")

OnReport = Callable[[int, float], object]
OnLine = Callable[[bytes], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to run, where, and how its output is understood."""

    argv: tuple[str, ...]
    #: Complete; nothing is added but the mark by which the tree is found.
    environment: Mapping[str, str]
    workdir: Path
    log: Path
    timeout_seconds: float | None
    objectives: int
    pattern: str | None
    #: ``<instance>/<claim>``
    token: str
    #: Where its group is made, and what that allows it.
    cgroups: Root | None
    resources: Resources = UNLIMITED
    #: Between SIGTERM and SIGKILL when the tree is killed.
    grace_seconds: float = 0.0


#: Begins what a launch says, with these descriptors as its standard output and standard error.
Start = Callable[[Launch, int, int], Awaitable[Tree]]


async def run(
    launch: Launch, start: Start, on_report: OnReport | None = None, on_line: OnLine | None = None
) -> Ending:
    """Runs to the end, or to the timeout. Cancelled: kills the whole tree, then the cancellation goes on.

    Raises what ``start`` raises.
    """
    if problem := _problem(launch):
        return _failed(Cause.EXIT, problem)
    reports = Reports(launch.objectives, launch.pattern, on_report)
    kept = TrialLog(launch.log)
    try:
        return await _watch(launch, start, reports, kept, on_line)
    finally:
        kept.close()


def command(experiment: Experiment, point: Point) -> tuple[str, ...]:
    """What is executed for a point."""
    if experiment.objective.python is None:
        return experiment.argv(point)
    return (sys.executable, "-m", "tuned.worker", *experiment.worker_arguments)


def environment(
    experiment: Experiment,
    point: Point,
    *,
    trial: int,
    host: str,
    slot: int,
    attempt: int,
    point_directory: Path,
    cards: Sequence[str] = (),
) -> dict[str, str]:
    """A trial's whole environment: the daemon's without its secrets, the experiment's, and the parameters.

    Without ``cards`` of its own, what is said of GPUs is left as it is.
    """
    parameters = {f"TUNED_PARAM_{name.upper()}": text(value) for name, value in point.values.items()}
    return {
        **common_environment(experiment, host),
        **parameters,
        **({gpus.VARIABLE: ",".join(cards)} if cards else {}),
        "TUNED_PARAMS": json.dumps(dict(point.values)),
        "TUNED_TRIAL": str(trial),
        "TUNED_SLOT": str(slot),
        "TUNED_ATTEMPT": str(attempt),
        "TUNED_POINT_DIR": str(point_directory),
    }


def common_environment(experiment: Experiment, host: str) -> dict[str, str]:
    """What all trials of an experiment on a host have in their environment."""
    # Otherwise what a Python program prints is seen only when its buffer is full.
    unbuffered = {"PYTHONUNBUFFERED": "1"}
    names = {"TUNED_EXPERIMENT": experiment.name, "TUNED_HOST": host}
    return {**unbuffered, **own_environment(), **experiment.objective.env, **names}


def own_environment() -> dict[str, str]:
    """The daemon's environment without its secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _WITHHELD and not name.startswith(_WITHHELD_PREFIXES)
    }


def _problem(launch: Launch) -> str | None:
    """Why the program cannot be started, in words that help; None if it seems that it can."""
    if not launch.workdir.is_dir():
        return f"cannot run in {launch.workdir}: there is no such directory"
    if not os.access(launch.workdir, os.X_OK):
        return f"cannot run in {launch.workdir}: permission denied"
    program = launch.argv[0]
    if "/" in program:
        path = launch.workdir / program
        if not path.exists():
            return f"cannot run {program!r}: there is no such file (working directory {launch.workdir})"
        if not os.access(path, os.X_OK) or path.is_dir():
            return f"cannot run {program!r}: it is not executable"
        return None
    search = launch.environment.get("PATH", os.defpath)
    return (
        None
        if shutil.which(program, path=search)
        else f"cannot run {program!r}: not found in PATH ({search})"
    )


async def _watch(
    launch: Launch, start: Start, reports: Reports, kept: TrialLog, on_line: OnLine | None
) -> Ending:
    tail = Tail()
    tree: Tree | None = None
    status: int | None = None
    with (
        Pipe(reports.feed, kept.write, Told(on_line).feed) as stdout,
        Pipe(tail.feed, kept.write, Told(on_line).feed) as stderr,
    ):
        try:
            async with asyncio.timeout(launch.timeout_seconds):
                tree = await start(launch, stdout.writer, stderr.writer)
                stdout.close_writer()
                stderr.close_writer()
                status = await tree.ended()
        except TimeoutError:
            # It has no status: that is told below.
            pass
        finally:
            if tree is not None:
                await completely(tree.kill(launch.grace_seconds))
    if status is None:
        seconds = launch.timeout_seconds
        message = f"still running after {seconds:g} s"
        return _failed(Cause.TIMEOUT, message, reports, timeout=seconds)
    assert tree is not None
    return _ending(tree, status, reports, tail)


def _ending(tree: Tree, status: int, reports: Reports, tail: Tail) -> Ending:
    outcome = reports.finish()
    if status == 0 and not isinstance(outcome, Failure):
        # Whoever lost a child for want of memory and got over it has a value all the same.
        return Ending(values=outcome, intermediate=reports.intermediate, user_attrs=reports.user_attrs)
    if tree.oom_kills:
        return _failed(Cause.OOM, tail.after("killed for want of memory"), reports)
    if status < 0:
        name = _signal_name(-status)
        return _failed(Cause.SIGNAL, tail.after(f"killed by {name}"), reports, signal=name)
    if status > 0:
        return _failed(Cause.EXIT, tail.after(f"exit status {status}"), reports, status=status)
    assert isinstance(outcome, Failure)
    return _failing(outcome, reports)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Most real-time signals have none.
        return str(number)


def _failed(cause: Cause, message: str, reports: Reports | None = None, **detail: object) -> Ending:
    failure = Failure(cause=cause, message=message, detail=detail)
    return Ending(failure=failure) if reports is None else _failing(failure, reports)


def _failing(failure: Failure, reports: Reports) -> Ending:
    return Ending(failure=failure, intermediate=reports.intermediate, user_attrs=reports.user_attrs)
