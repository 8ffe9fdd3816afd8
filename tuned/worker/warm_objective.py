"""The warm process of one Python objective: imports its module once, and forks every trial from there.

``bootstrap.py warm_objective MODULE:FUNCTION DIRECTORY SPACE DIRECTIONS DESCRIPTOR GROUP``: the last two as
told in ``forkserver``, the others as for ``objective``. The output of the import, and its
failure, belong to the trial for which the process was begun. After that it must never touch a trial's output.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tuned.worker.channel import Channel
from tuned.worker.forkserver import IMPORTED, MARK_VARIABLE, Order, connect, serve
from tuned.worker.objective import Objective, definition, evaluate, load
from tuned.worker.study import Definition
from tuned.worker.threads import lasting_threads

_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class _Imported:
    """The things that are made once for all trials."""

    objective: Objective
    definition: Definition
    #: The address at which the kernel shows our mark to those who ask what environment a process began with.
    mark: int
    mark_bytes: int


def main(arguments: Sequence[str]) -> None:
    name, directory, space, directions, descriptor, group = arguments
    daemon = connect(descriptor, group)
    mark, mark_bytes = _find_mark()
    defined = definition(space, directions)
    imported = _Imported(
        objective=load(name, directory), definition=defined, mark=mark, mark_bytes=mark_bytes
    )
    _let_go_of_output()
    # Libraries for numbers have threads of their own, and some see to their forks.
    warnings.filterwarnings("ignore", r"This process .*is multi-threaded, use of fork", DeprecationWarning)
    daemon.send(IMPORTED)
    if (hindrance := _hindrance()) is not None:
        daemon.send(hindrance.encode())
        return
    # The collector of a trial does not look through the objects of now, and so does not copy them.
    gc.collect()
    gc.freeze()
    serve(daemon, partial(_become, imported))


def _find_mark() -> tuple[int, int]:
    stat = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    # env_start and env_end of proc(5), which counts from 1 and has two fields before the parenthesis.
    start, end = int(stat[50 - 3]), int(stat[51 - 3])
    shown = ctypes.string_at(start, end - start)
    place = shown.index(f"{MARK_VARIABLE}=".encode()) + len(MARK_VARIABLE) + 1
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
    if threads := lasting_threads():
        return f"its import leaves {threads}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "its import initialises CUDA"
    return None


def _become(imported: _Imported, order: Order, reports: int | None) -> int:
    if reports is None:
        raise ValueError("the daemon gave no socket for its reports")
    _settle_in(imported, order)
    return _conclude(imported, Channel(reports))


def _settle_in(imported: _Imported, order: Order) -> None:
    """Takes on what a command begins with: mark, environment, directory."""
    environment = order["environment"]
    mark = environment[MARK_VARIABLE].encode()
    if len(mark) != imported.mark_bytes:
        raise ValueError(f"the mark {mark.decode()} is not as long as the server's")
    ctypes.memmove(imported.mark, mark, len(mark))
    # Most of it is the server's, and a page that is left alone need not be copied.
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    os.chdir(order["workdir"])
    if (random := sys.modules.get("numpy.random")) is not None:
        # Python's own generator sees to that by itself.
        random.seed()


def _conclude(imported: _Imported, channel: Channel) -> int:
    """Evaluates, and ends as the interpreter would; returns the exit status."""
    # Functions registered at the import are for the process that imported; multiprocessing does the same.
    atexit._clear()
    if (multiprocessing := sys.modules.get("multiprocessing.util")) is not None:
        atexit.register(multiprocessing._exit_function)
    status = 0
    try:
        evaluate(imported.objective, imported.definition, channel)
    except SystemExit as end:
        status = _status(end.code)
    except BaseException as error:  # noqa: BLE001 (whatever it is, it ends the trial)
        # The hook may be the module's own, and write to what the objective has closed.
        with contextlib.suppress(Exception):
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
    with contextlib.suppress(Exception):
        sys.stderr.write(f"{code}\n")
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        # The module may have closed it, or put something else in its place.
        with contextlib.suppress(Exception):
            stream.flush()  # type: ignore[union-attr]
    # The output of libraries in C.
    _libc.fflush(None)
