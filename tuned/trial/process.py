"""One trial's process tree: started, watched, and gone when ``run`` returns.

However a run ends, nothing of its tree may be left (docs/explanation/isolation.md tells the limits of that),
and its output is in its log. It must never wait for a process that escaped, or hold up the loop with its
output.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from tuned.disk.files import make_directory
from tuned.disk.trial_log import TrialLog
from tuned.domain.ending import Cause, Ending, Failure, Pruning
from tuned.trial.channel import Answer, Channel, nothing_known
from tuned.trial.curve import Curve
from tuned.trial.keeping import Verdict
from tuned.trial.launch import Launch, Outputs, Start, launch_problem
from tuned.trial.notes import Notes
from tuned.trial.objective_reports import ObjectiveReports
from tuned.trial.pipes import LineReader, Pipe, Tail
from tuned.trial.reports import Reports
from tuned.trial.tree import Tree, completely

#: How long an objective has to ask and to end, at least.
ASKING_GRACE_SECONDS = 5.0

OnLine = Callable[[bytes], object]

R = TypeVar("R")

#: Threads of its own: those that look at processes must not wait for a disk. Most are never begun.
_disk = ThreadPoolExecutor(max_workers=256, thread_name_prefix="trial-disk")


async def run(
    launch: Launch,
    start: Start,
    curve: Curve | None = None,
    on_line: OnLine | None = None,
    answer: Answer = nothing_known,
    *,
    verdict: Verdict | None = None,
) -> Ending:
    """Runs to the end, to the timeout, or until a verdict ends it, if it had no result before.

    Cancelled: kills the whole tree, then the cancellation goes on.

    ``curve`` is filled meanwhile, and ``answer`` is for an objective that asks how its study stands. Raises
    what ``start`` raises, and OSError if a directory cannot be made.
    """
    kept = TrialLog(launch.log)
    streams = _Streams(launch, kept, curve, on_line, answer)
    try:
        if problem := await _on_disk(_prepare, launch):
            return _failed(Cause.EXIT, problem)
        kept.open()
        if launch.heading:
            kept.write(f"[tuned: {launch.heading}]\n".encode())
        return await _watch(launch, start, streams, verdict)
    finally:
        kept.close()
        if launch.removed_if_empty:
            await completely(_on_disk(_clear, launch))


class _Streams:
    """All that a program says: its two outputs, and the socket of an objective.

    They are open for as long as the block lasts, and have been read to their ends at its end.
    """

    def __init__(
        self,
        launch: Launch,
        kept: TrialLog,
        curve: Curve | None,
        on_line: OnLine | None,
        answer: Answer,
    ) -> None:
        self.tail = Tail()
        self.reports: Reports | ObjectiveReports
        # Closed after the pipes, which are read to their ends first.
        lines = [LineReader(on_line), LineReader(on_line)]
        readers = [[kept.write, lines[0].feed], [self.tail.feed, kept.write, lines[1].feed]]
        channels: list[Pipe] = []
        if launch.is_objective:
            self.reports = ObjectiveReports(launch.objectives, curve)
            channels.append(Channel(self.reports, answer))
        else:
            self.reports = Reports(launch.objectives, launch.pattern, curve)
            readers[0].insert(0, self.reports.feed)
        self._lines = lines
        self._pipes = [*(Pipe(*each, has_room=kept.has_room) for each in readers), *channels]
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for lines in self._lines:
                stack.enter_context(lines)
            for pipe in self._pipes:
                stack.enter_context(pipe)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def outputs(self) -> Outputs:
        """The ends that the program is given copies of."""
        return tuple(each.writer for each in self._pipes)

    def close_writers(self) -> None:
        for each in self._pipes:
            each.close_writer()

    def catch_up(self) -> None:
        for each in self._pipes:
            each.catch_up()


def _on_disk(work: Callable[[Launch], R], launch: Launch) -> asyncio.Future[R]:
    """In a thread: a disk that hangs holds up its own trials only."""
    return asyncio.get_running_loop().run_in_executor(_disk, work, launch)


def _prepare(launch: Launch) -> str | None:
    """Makes the directories. Returns why the program cannot be started, if so."""
    for directory in launch.directories:
        make_directory(directory, 0o750)
    return launch_problem(launch)


def _clear(launch: Launch) -> None:
    for directory in launch.removed_if_empty:
        with contextlib.suppress(OSError):
            directory.rmdir()


async def _watch(launch: Launch, start: Start, streams: _Streams, verdict: Verdict | None) -> Ending:
    tree: Tree | None = None
    status: int | None = None
    with streams:
        try:
            async with asyncio.timeout(launch.timeout_seconds):
                tree = await start(launch, streams.outputs)
                streams.close_writers()
                status = await _own_end(tree, streams, verdict, launch)
        except TimeoutError:
            # It has no status: the ending below says so.
            pass
        finally:
            if tree is not None:
                await completely(tree.kill(launch.grace_seconds))
    pruning = None if verdict is None else verdict.pruning
    if status is None and verdict is not None and verdict.is_given:
        assert pruning is not None
        return _pruned(pruning, launch.objectives, streams.reports)
    if status is None:
        seconds = launch.timeout_seconds
        message = f"still running after {seconds:g} s"
        return _failed(Cause.TIMEOUT, message, streams.reports, timeout=seconds)
    assert tree is not None
    return _ending(tree, status, streams, pruning)


async def _own_end(tree: Tree, streams: _Streams, verdict: Verdict | None, launch: Launch) -> int | None:
    """Waits for the main process and returns its status; None if it is to be ended before."""
    if verdict is None:
        return await tree.ended()
    ended = asyncio.ensure_future(tree.ended())
    try:
        while not await _is_pruned(tree, ended, streams, verdict):
            if ended.done():
                return ended.result()
        if launch.is_objective:
            # It is told when it asks next, and may clean up. At its first report it may not have asked yet.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(launch.grace_seconds, ASKING_GRACE_SECONDS)):
                    return await asyncio.shield(ended)
        return None
    finally:
        ended.cancel()
        await asyncio.wait([ended])


async def _is_pruned(tree: Tree, ended: asyncio.Future[int], streams: _Streams, verdict: Verdict) -> bool:
    """Waits for the process's end or a verdict. An end or a result that came before the verdict counts."""
    given = asyncio.ensure_future(verdict.given())
    waits: list[asyncio.Future[Any]] = [ended, given]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        given.cancel()
    if ended.done():
        return False
    streams.catch_up()
    if streams.reports.has_result or tree.has_ended:
        verdict.withdraw()
        return False
    return True


def _pruned(pruning: Pruning, objectives: int, reports: Notes) -> Ending:
    """As Optuna has it: the report of the last step is its value, if it is a number."""
    curve, last = reports.curve.values, reports.curve.last
    values: tuple[float, ...] = ()
    if last is not None:
        values = last.values if objectives > 1 else (curve[max(curve)],)
    return Ending(
        values=None if not values or any(map(math.isnan, values)) else values,
        is_pruned=True,
        pruning=pruning,
        stops_search=reports.stops_search,
        intermediate=reports.intermediate,
        user_attrs=reports.user_attrs,
    )


def _ending(tree: Tree, status: int, streams: _Streams, pruning: Pruning | None) -> Ending:
    reports, tail = streams.reports, streams.tail
    outcome = reports.finish()
    if status == 0 and not isinstance(outcome, Failure):
        # A trial that lost a child for want of memory and got over it has a value all the same.
        return Ending(
            values=outcome or None,
            is_pruned=reports.is_pruned,
            pruning=pruning if reports.is_pruned else None,
            stops_search=reports.stops_search,
            intermediate=reports.intermediate,
            user_attrs=reports.user_attrs,
            constraints=reports.constraints,
        )
    if tree.oom_kills:
        return _failed(Cause.OOM, tail.after("killed for want of memory"), reports)
    if status < 0:
        name = _signal_name(-status)
        return _failed(Cause.SIGNAL, tail.after(f"killed by {name}"), reports, signal=name)
    if status > 0:
        message = f"exit status {status}"
        said = f"{message}: {reports.error}" if reports.error else tail.after(message)
        return _failed(Cause.EXIT, said, reports, status=status)
    assert isinstance(outcome, Failure)
    return _failing(outcome, reports)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Most real-time signals have none.
        return str(number)


def _failed(cause: Cause, message: str, reports: Notes | None = None, **detail: object) -> Ending:
    failure = Failure(cause=cause, message=message, detail=detail)
    return Ending(failure=failure) if reports is None else _failing(failure, reports)


def _failing(failure: Failure, reports: Notes) -> Ending:
    return Ending(
        failure=failure,
        stops_search=reports.stops_search,
        intermediate=reports.intermediate,
        user_attrs=reports.user_attrs,
        constraints=reports.constraints,
    )
