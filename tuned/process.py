"""One trial's process tree: started, watched, and gone when ``run`` returns.

No thread and no polling: its end comes by a pidfd, its output by the loop. Whatever way a run ends, nothing
of its tree is left, as far as the isolation reaches (docs/trials.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import structlog

from tuned import descendants, gpus
from tuned.experiment import Experiment, text
from tuned.output import Lines, Reports, TrialLog
from tuned.states import Cause, Ending, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.cgroup import Cgroup
    from tuned.space import Point

_log: FilteringBoundLogger = structlog.get_logger()

CHUNK_BYTES = 64 * 1024

#: How much of the end of standard error is told in a failure's message.
TAIL_CHARACTERS = 300

#: What is the daemon's own, or would let a trial speak in its name: never in a trial's environment.
_WITHHELD = frozenset({"CREDENTIALS_DIRECTORY", "JOURNAL_STREAM", "NOTIFY_SOCKET", "INVOCATION_ID"})
_WITHHELD_PREFIXES = ("LISTEN_", "PG", "TUNED_", "WATCHDOG_")

OnReport = Callable[[int, float], object]
OnLine = Callable[[bytes], object]

#: The main processes of all trials that run: the ends of these are their runs' business.
_mains: set[int] = set()


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
    group: Cgroup | None
    #: Between SIGTERM and SIGKILL when the tree is killed.
    grace_seconds: float = 0.0


async def run(launch: Launch, on_report: OnReport | None = None, on_line: OnLine | None = None) -> Ending:
    """Runs to the end, or to the timeout. Cancelled: kills the whole tree, then the cancellation goes on."""
    if problem := _problem(launch):
        return _failed(Cause.EXIT, problem)
    reports = Reports(launch.objectives, launch.pattern, on_report)
    kept = TrialLog(launch.log)
    try:
        try:
            process = _spawn(launch)
        except (OSError, ValueError) as error:
            return _failed(Cause.EXIT, f"cannot run {launch.argv[0]!r}: {error}")
        return await _watch(launch, process, reports, kept, on_line)
    finally:
        kept.close()


def command(experiment: Experiment, point: Point) -> tuple[str, ...]:
    """What is executed for a point."""
    objective = experiment.objective
    if objective.python is None:
        return experiment.argv(point)
    path = () if objective.path is None else (objective.path,)
    return (sys.executable, "-m", "tuned.worker", objective.python, *path)


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
    ours = {
        name: value
        for name, value in os.environ.items()
        if name not in _WITHHELD and not name.startswith(_WITHHELD_PREFIXES)
    }
    # Otherwise what a Python program prints is seen only when its buffer is full.
    unbuffered = {"PYTHONUNBUFFERED": "1"}
    parameters = {f"TUNED_PARAM_{name.upper()}": text(value) for name, value in point.values.items()}
    return {
        **unbuffered,
        **ours,
        **experiment.objective.env,
        **parameters,
        **({gpus.VARIABLE: ",".join(cards)} if cards else {}),
        "TUNED_PARAMS": json.dumps(dict(point.values)),
        "TUNED_EXPERIMENT": experiment.name,
        "TUNED_TRIAL": str(trial),
        "TUNED_HOST": host,
        "TUNED_SLOT": str(slot),
        "TUNED_ATTEMPT": str(attempt),
        "TUNED_POINT_DIR": str(point_directory),
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


def _spawn(launch: Launch) -> subprocess.Popen[bytes]:
    argv = launch.argv if launch.group is None else launch.group.joining(launch.argv)
    process = subprocess.Popen(  # what a member of the spool's group asked for
        argv,
        cwd=launch.workdir,
        env={**launch.environment, descendants.TOKEN_VARIABLE: launch.token},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    _mains.add(process.pid)
    return process


async def _watch(
    launch: Launch, process: subprocess.Popen[bytes], reports: Reports, kept: TrialLog, on_line: OnLine | None
) -> Ending:
    tail = _Tail()
    assert process.stdout is not None
    assert process.stderr is not None
    timed_out = False
    with (
        _Pipe(process.stdout, reports.feed, kept.write, _Told(on_line).feed),
        _Pipe(process.stderr, tail.feed, kept.write, _Told(on_line).feed),
    ):
        try:
            async with asyncio.timeout(launch.timeout_seconds):
                await _exited(process)
        except TimeoutError:
            timed_out = True
        finally:
            await _completely(_kill(launch, process))
    if timed_out:
        seconds = launch.timeout_seconds
        message = f"still running after {seconds:g} s"
        return _failed(Cause.TIMEOUT, message, reports, timeout=seconds)
    return _ending(launch, process.returncode, reports, tail)


def _ending(launch: Launch, status: int, reports: Reports, tail: _Tail) -> Ending:
    outcome = reports.finish()
    if status == 0 and not isinstance(outcome, Failure):
        # Whoever lost a child for want of memory and got over it has a value all the same.
        return Ending(values=outcome, intermediate=reports.intermediate)
    if launch.group is not None and launch.group.oom_kills():
        return _failed(Cause.OOM, tail.after("killed for want of memory"), reports)
    if status < 0:
        name = _signal_name(-status)
        return _failed(Cause.SIGNAL, tail.after(f"killed by {name}"), reports, signal=name)
    if status > 0:
        return _failed(Cause.EXIT, tail.after(f"exit status {status}"), reports, status=status)
    assert isinstance(outcome, Failure)
    return Ending(failure=outcome, intermediate=reports.intermediate)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Most real-time signals have none.
        return str(number)


def _failed(cause: Cause, message: str, reports: Reports | None = None, **detail: object) -> Ending:
    failure = Failure(cause=cause, message=message, detail=detail)
    return Ending(failure=failure, intermediate={} if reports is None else reports.intermediate)


async def _exited(process: subprocess.Popen[bytes]) -> None:
    """Waits for the main process and takes its status."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.wait()


async def _completely(work: Coroutine[Any, Any, None] | asyncio.Future[None]) -> None:
    """Carries it out whole: a cancellation that comes meanwhile goes on only then."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await _completely(task)
        raise


async def _kill(launch: Launch, process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of the tree and waits until it is gone."""
    if process.returncode is None and launch.grace_seconds:
        _terminate(launch, process.pid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(launch.grace_seconds):
                await _exited(process)
    if launch.group is not None:
        if not launch.group.is_empty():
            launch.group.kill()
    elif process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        # Killed before it joined its group, perhaps. Popen's own kill would take its status.
        os.kill(process.pid, signal.SIGKILL)
        await _exited(process)
    _mains.discard(process.pid)
    is_gone = (
        descendants.kill_tree(process.pid, launch.token, _mains)
        if launch.group is None
        else await launch.group.wait_empty()
    )
    if not is_gone:
        _log.error("processes of a trial could not be killed", pid=process.pid)


def _terminate(launch: Launch, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if launch.group is None:
            os.killpg(pid, signal.SIGTERM)
            return
        for member in launch.group.processes():
            os.kill(member, signal.SIGTERM)


class _Pipe:
    """One end of a pipe, read by the event loop for as long as the block lasts, and then to its end.

    At the block's end all that wrote is gone, and what it wrote lies in the pipe. Only a process that escaped
    can hold it open: nobody waits for that.
    """

    def __init__(self, file: IO[bytes], *readers: Callable[[bytes], object]) -> None:
        self._file = file
        self._readers = readers

    def __enter__(self) -> Self:
        os.set_blocking(self._file.fileno(), False)
        asyncio.get_running_loop().add_reader(self._file.fileno(), self._read)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._file.closed:
            left = fcntl.fcntl(self._file, fcntl.F_GETPIPE_SZ)
            while left > 0 and (size := self._read()):
                left -= size
        self._close()

    def _read(self) -> int:
        # One chunk at a time: a flood takes its turn with everything else.
        try:
            chunk = os.read(self._file.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return 0
        if not chunk:
            self._close()
        for reader in self._readers if chunk else ():
            reader(chunk)
        return len(chunk)

    def _close(self) -> None:
        if not self._file.closed:
            asyncio.get_running_loop().remove_reader(self._file.fileno())
            self._file.close()


class _Told:
    """The lines of one stream, told as they come to whoever wants them."""

    def __init__(self, on_line: OnLine | None) -> None:
        self._lines = Lines()
        self._on_line = on_line

    def feed(self, chunk: bytes) -> None:
        if self._on_line is not None:
            for line in self._lines.feed(chunk):
                self._on_line(line)


class _Tail:
    """The end of standard error: what a person looks at first."""

    def __init__(self) -> None:
        self._end = b""

    def feed(self, chunk: bytes) -> None:
        self._end = (self._end + chunk)[-4 * TAIL_CHARACTERS :]

    def after(self, message: str) -> str:
        lines = list(self._lines())
        return f"{message}: {lines[-1][-TAIL_CHARACTERS:]}" if lines else message

    def _lines(self) -> Iterator[str]:
        for line in self._end.decode("utf-8", "replace").splitlines():
            if line.strip():
                yield line.strip()
