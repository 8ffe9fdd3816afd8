"""One trial's process tree: started, watched, and gone when ``run`` returns.

However a run ends, nothing of its tree may be left (docs/explanation/isolation.md tells the limits of that),
and its output is in its log. It must never wait for a process that escaped, or hold up the loop with its
output.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

from tuned.disk.files import make_directory
from tuned.disk.trial_log import TrialLog
from tuned.domain.ending import Cause, Ending, Failure
from tuned.trial.launch import Launch, Start, launch_problem
from tuned.trial.pipes import LineReader, Pipe, Tail
from tuned.trial.reports import Reports
from tuned.trial.tree import Tree, completely

OnReport = Callable[[int, float], object]

OnLine = Callable[[bytes], object]


async def run(
    launch: Launch, start: Start, on_report: OnReport | None = None, on_line: OnLine | None = None
) -> Ending:
    """Runs to the end, or to the timeout. Cancelled: kills the whole tree, then the cancellation goes on.

    Raises what ``start`` raises, and OSError if a directory cannot be made.
    """
    reports = Reports(launch.objectives, launch.pattern, on_report)
    kept = TrialLog(launch.log)
    try:
        # Not in a thread: to wait for one costs each trial 3 ms while others keep the interpreter busy.
        if problem := _prepare(launch, kept):
            return _failed(Cause.EXIT, problem)
        return await _watch(launch, start, reports, kept, on_line)
    finally:
        kept.close()
        for directory in launch.removed_if_empty:
            with contextlib.suppress(OSError):
                directory.rmdir()


def _prepare(launch: Launch, kept: TrialLog) -> str | None:
    """Makes the directories and begins the log; if the program cannot be started, returns why instead."""
    for directory in launch.directories:
        make_directory(directory, 0o700)
    problem = launch_problem(launch)
    if problem is None:
        kept.open()
    return problem


async def _watch(
    launch: Launch, start: Start, reports: Reports, kept: TrialLog, on_line: OnLine | None
) -> Ending:
    tail, stdout_lines, stderr_lines = Tail(), LineReader(on_line), LineReader(on_line)
    tree: Tree | None = None
    status: int | None = None
    with (
        # Closed after the pipes, which are read to their ends first.
        stdout_lines,
        stderr_lines,
        Pipe(reports.feed, kept.write, stdout_lines.feed, has_room=kept.has_room) as stdout,
        Pipe(tail.feed, kept.write, stderr_lines.feed, has_room=kept.has_room) as stderr,
    ):
        try:
            async with asyncio.timeout(launch.timeout_seconds):
                tree = await start(launch, stdout.writer, stderr.writer)
                stdout.close_writer()
                stderr.close_writer()
                status = await tree.ended()
        except TimeoutError:
            # It has no status: the ending below says so.
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
        # A trial that lost a child for want of memory and got over it has a value all the same.
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
