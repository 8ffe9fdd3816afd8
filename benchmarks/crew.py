"""Processes that do the same thing at once, each with interpreter and connections of its own."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Concatenate, ParamSpec, TypeVar

import optuna

P = ParamSpec("P")
R = TypeVar("R")

_PR_SET_PDEATHSIG = 1
_PATIENCE_SECONDS = 120

#: The processes of a crew wait for each other here.
_barrier: Barrier | None = None

#: When one process began and ended, by a clock that all processes share.
Lap = tuple[float, float]


class Crew:
    """So many processes."""

    def __init__(self, pool: ProcessPoolExecutor, size: int) -> None:
        self._pool = pool
        self.size = size

    def run(self, work: Callable[Concatenate[int, P], R], *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """Runs ``work`` in all processes at once, each with its number as first argument."""
        futures = [
            self._pool.submit(_in_step, work, number, *args, **kwargs)  # type: ignore[arg-type]
            for number in range(self.size)
        ]
        return [future.result() for future in futures]


@contextlib.contextmanager
def crew(size: int) -> Iterator[Crew]:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(size)
    with ProcessPoolExecutor(size, mp_context=context, initializer=_enter, initargs=(barrier,)) as pool:
        yield Crew(pool, size)


def lap(work: Callable[[], object]) -> Lap:
    """Waits until the whole crew is ready, then times ``work``."""
    meet()
    began = time.monotonic()
    work()
    return began, time.monotonic()


def seconds(laps: list[Lap]) -> float:
    """The seconds from the first beginning to the last end."""
    return max(ended for _, ended in laps) - min(began for began, _ in laps)


def meet() -> None:
    assert _barrier is not None, "only in a crew"
    _barrier.wait(_PATIENCE_SECONDS)


def _enter(barrier: Barrier) -> None:
    global _barrier  # noqa: PLW0603 (a pool gives its processes no other place)
    _barrier = barrier
    # Nothing is left when the run is killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def _in_step(work: Callable[Concatenate[int, P], R], number: int, *args: P.args, **kwargs: P.kwargs) -> R:
    # A process that waits here takes no second piece of work.
    meet()
    return work(number, *args, **kwargs)
