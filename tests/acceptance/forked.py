"""Daemons that skip the imports: a process that has imported their modules forks for each of them.

Most of the CPU time of a short test were the imports of its daemons. A forked one runs the same module in a
process of its own, with the session, directory, environment, arguments and files of one that was started by
``python -m``. Only its command line and the environment in ``/proc`` are those of the process that forked it.

``python -m tests.acceptance.forked MODULE...`` is that process: its standard input is a socket, on which it
answers one request a line.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: All that a daemon imports, some of it late.
DAEMON = ("tuned.daemon.main", "alembic.context", "numpy.random")

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A module to be run, and how."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    #: Gets all that it says.
    log: str


class Forked:
    """A process that was forked elsewhere, with the part of ``subprocess.Popen`` that the tests use."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self._line = line
        self.returncode: int | None = None
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return self._result(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        status = self._result(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return status

    def _result(self, seconds: float | None) -> int | None:
        if self.returncode is None and self._has_ended(seconds):
            os.close(self._pidfd)
            self.returncode = _ask(self._line, {"wait": self.pid})
        return self.returncode

    def _has_ended(self, seconds: float | None) -> bool:
        # Not select(), which takes no descriptor above 1023: a proxy of this process may have many.
        ends = select.poll()
        ends.register(self._pidfd, select.POLLIN)
        return bool(ends.poll(None if seconds is None else seconds * 1000))


def fork(program: Program, *, imported: Sequence[str] = DAEMON) -> Forked:
    line = _forker(*imported)
    return Forked(_ask(line, {"fork": asdict(program)}), line)


def _ask(line: socket.socket, request: object) -> int:
    line.sendall(json.dumps(request).encode() + b"\n")
    answer = line.recv(64)
    assert answer, "the process that forks has ended"
    return int(answer)


@functools.cache
def _forker(*imported: str) -> socket.socket:
    """It ends with this process, or with the thread that asked first."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, *imported], stdin=theirs.fileno(), cwd="/",
            env=plain_environment(),
            # Ctrl-C is for the test runner, which then stops the daemons.
            start_new_session=True,
        )  # fmt: skip
    atexit.register(_end, process, ours)
    return ours


def _end(process: subprocess.Popen[bytes], line: socket.socket) -> None:
    line.close()
    process.wait()


def plain_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TUNED_", "XDG_", "PYTEST_")) and name != "NOTIFY_SOCKET"
    }


# The process that forks


def _serve() -> Program | None:
    """Returns the program in a process that was forked for it, and None when nobody asks any more."""
    with socket.socket(fileno=os.dup(0)) as line, line.makefile() as requests:
        for request in map(json.loads, requests):
            if "wait" in request:
                _, status = os.waitpid(request["wait"], 0)
                answer = os.waitstatus_to_exitcode(status)
            elif (answer := os.fork()) == 0:
                return Program(**request["fork"])
            line.sendall(str(answer).encode())
    return None


def _become(program: Program) -> None:
    os.setsid()
    # When the process that forks is gone, the daemon aborts.
    abort_with_parent()
    os.chdir(program.directory)
    log = os.open(program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for file, descriptor in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(file, descriptor)
    os.close(nothing)
    os.close(log)
    os.environ.clear()
    os.environ.update(program.environment)
    sys.argv = [program.module, *program.arguments]
    sys.path[0] = program.directory


def abort_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_prctl: Any = ctypes.CDLL(None, use_errno=True).prctl


def _main() -> None:
    for module in sys.argv[1:]:
        importlib.import_module(module)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if program := _serve():
        _become(program)
        runpy.run_module(program.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
