"""Bounded waits: a test waits for a condition, never for a time, and says what it waited for in vain."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

#: The awaited event in words, for the reader of a failed wait.
What = str | Callable[[], str]

#: Enough for a busy machine with two cores; a wait that succeeds costs only what it takes.
PATIENCE_SECONDS = 20.0


class WaitedInVain(AssertionError):
    """A condition did not come true in time."""


def until(predicate: Callable[[], T], *, what: What, seconds: float = PATIENCE_SECONDS) -> T:
    """Returns the first true value of ``predicate``; raises WaitedInVain after ``seconds``."""
    for pause in _pauses(what, seconds):
        if value := predicate():
            return value
        time.sleep(pause)
    raise AssertionError  # pragma: no cover (the pauses end by raising)


async def until_async(
    predicate: Callable[[], T | Awaitable[T]],
    *,
    what: What,
    seconds: float = PATIENCE_SECONDS,
) -> T:
    """Like ``until``, for a plain or a coroutine function, without holding up the event loop."""
    for pause in _pauses(what, seconds):
        value = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(pause)
    raise AssertionError  # pragma: no cover (the pauses end by raising)


def _pauses(what: What, seconds: float) -> Iterator[float]:
    end = time.monotonic() + seconds
    pause = 0.002
    # One last look after the deadline: a process that was not scheduled for long must not fail for it.
    while time.monotonic() < end:
        yield pause
        pause = min(pause * 1.5, 0.1)
    yield 0.0
    # Asked only now: what is there by then says most.
    wanted = what if isinstance(what, str) else what()
    raise WaitedInVain(f"waited {seconds:g} s in vain for {wanted}")
