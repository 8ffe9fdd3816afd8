"""The warm process of one Python objective: imports its module once, and forks every trial from there.

``python -m tuned.forkserver DESCRIPTOR MODULE:FUNCTION DIRECTORY SPACE`` (the rest as for tuned.worker) is
a child of the daemon, which holds the other end of the socket DESCRIPTOR. What the import prints, and how it
fails, is that of the trial for which it was begun, whose output it has until then. Then it says READY, or why
it cannot be forked. Each message with sockets asks for as many trials, in the control groups that it names;
the answer is their process ids. When nobody holds the other end any more, it ends.

Trials are forked by a child that ends at once, so that the daemon, which adopts orphans, becomes their parent
and learns how they end from the kernel, whatever becomes of this process. Some are forked in advance: each
joins its group and waits at its socket until it is told what to evaluate, or nobody holds the other end.

An upgrade puts its version of this file, and of tuned.worker, under a daemon that goes on running: what the
daemon of the version before asks for must be understood.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tuned.descendants import TOKEN_VARIABLE
from tuned.space import Parameter
from tuned.worker import Objective, evaluate, load, parameters

READY = b"ready"

#: So many trials are asked for at a time: the process in between costs as much as one of them.
TRIALS = 4

#: What a trial is given: its order (JSON), standard output, standard error.
DESCRIPTORS = 3

#: As a shell has it where it cannot run what it was told to.
CANNOT_BEGIN = 125

#: Longer than anything that the daemon says, or that we answer.
MESSAGE_BYTES = 64 * 1024

_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Imported:
    """What is there once for all trials."""

    objective: Objective
    space: Mapping[str, Parameter]
    #: The address at which the kernel shows our mark to those who ask what environment a process began with.
    mark: int
    mark_bytes: int


def main(arguments: Sequence[str]) -> None:
    descriptor, name, directory, space = arguments
    daemon = socket.socket(fileno=int(descriptor))
    # What the module starts must not hold it.
    daemon.set_inheritable(False)
    mark, mark_bytes = _find_mark()
    imported = _Imported(
        objective=load(name, directory), space=parameters(space), mark=mark, mark_bytes=mark_bytes
    )
    _let_go_of_output()
    if (hindrance := _hindrance()) is not None:
        daemon.send(hindrance.encode())
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # What is there now is not looked through, and so not copied, by the collector of every trial.
    gc.collect()
    gc.freeze()
    daemon.send(READY)
    _serve(daemon, imported)


def _serve(daemon: socket.socket, imported: _Imported) -> None:
    # Libraries for numbers have threads of their own, and see to their forks.
    warnings.filterwarnings("ignore", r"This process .*is multi-threaded, use of fork", DeprecationWarning)
    while True:
        groups, sockets, _, _ = socket.recv_fds(daemon, MESSAGE_BYTES, TRIALS, socket.MSG_CMSG_CLOEXEC)
        if not sockets:
            return
        answer = _fork(daemon, imported, sockets, json.loads(groups))
        for each in sockets:
            os.close(each)
        daemon.send(answer)


def _find_mark() -> tuple[int, int]:
    stat = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    # env_start and env_end of proc(5), which counts from 1 and has two fields before the parenthesis.
    start, end = int(stat[50 - 3]), int(stat[51 - 3])
    shown = ctypes.string_at(start, end - start)
    place = shown.index(f"{TOKEN_VARIABLE}=".encode()) + len(TOKEN_VARIABLE) + 1
    return start + place, shown.index(b"\0", place) - place


def _let_go_of_output() -> None:
    """The output of the trial that had us begun is not ours any more."""
    _flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _hindrance() -> str | None:
    """Why a fork of this process would not be what the module made of it."""
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:
        return f"its import leaves threads running ({', '.join(others)})"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "its import initialises CUDA"
    return None


def _fork(
    daemon: socket.socket, imported: _Imported, sockets: Sequence[int], groups: Sequence[str | None]
) -> bytes:
    """The process ids of trials, which are no children of ours when we have them."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        pids: list[str] = []
        with contextlib.suppress(OSError):
            for each, group in zip(sockets, groups, strict=True):
                if (pid := os.fork()) == 0:
                    for other in {reader, writer, *sockets} - {each}:
                        os.close(other)
                    daemon.close()
                    _be_trial(imported, each, group)
                pids.append(str(pid))
        os.write(writer, " ".join(pids).encode())
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, 1024)
    os.close(reader)
    os.waitpid(between, 0)
    if not answer:
        raise SystemExit("the system allows no further process")
    return answer


def _be_trial(imported: _Imported, waiting: int, group: str | None) -> NoReturn:
    status = CANNOT_BEGIN
    try:
        os.setsid()
        hindrance = None if group is None else _join(group)
        if _begins(imported, waiting, hindrance):
            status = _conclude(imported)
    finally:
        # Not the interpreter's own end: it would take down, module by module, what was imported once for all.
        os._exit(status)


def _join(group: str) -> OSError | None:
    """Joins a control group; if it cannot, why, for there is no output yet to say it on."""
    try:
        Path(group, "cgroup.procs").write_text("0")
    except OSError as error:
        return error
    return None


def _begins(imported: _Imported, waiting: int, hindrance: OSError | None) -> bool:
    with socket.socket(fileno=waiting) as daemon:
        _, given, _, _ = socket.recv_fds(daemon, 1, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    if not given:
        return False
    order, stdout, stderr = given
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    try:
        if hindrance is not None:
            raise hindrance
        _settle_in(imported, json.loads(os.pread(order, os.fstat(order).st_size, 0)))
    except (OSError, ValueError) as error:
        os.write(2, f"tuned: cannot begin the trial: {error}\n".encode())
        return False
    for each in given:
        os.close(each)
    return True


def _settle_in(imported: _Imported, order: Mapping[str, Any]) -> None:
    """Becomes what a command is when it begins: mark, environment, directory."""
    environment: dict[str, str] = order["environment"]
    token = environment[TOKEN_VARIABLE].encode()
    if len(token) != imported.mark_bytes:
        raise ValueError(f"the mark {token.decode()} is not as long as the server's")
    ctypes.memmove(imported.mark, token, len(token))
    # Most of it is the server's, and every page that is left alone is one that need not be copied.
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    os.chdir(order["workdir"])
    if (random := sys.modules.get("numpy.random")) is not None:
        # Python's own generator sees to that by itself.
        random.seed()


def _conclude(imported: _Imported) -> int:
    """Evaluates, and ends as the interpreter would; returns the exit status."""
    # What was registered at the import is for the process that imported; and as multiprocessing does it.
    atexit._clear()
    if (multiprocessing := sys.modules.get("multiprocessing.util")) is not None:
        atexit.register(multiprocessing._exit_function)
    status = 0
    try:
        evaluate(imported.objective, imported.space)
    except SystemExit as end:
        status = _status(end.code)
    except BaseException as error:  # noqa: BLE001 (whatever it is, it ends the trial)
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
    # Waits for threads that are no daemons.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _flush()
    return status


def _status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # What libraries in C have printed.
    _libc.fflush(None)


if __name__ == "__main__":
    main(sys.argv[1:])
