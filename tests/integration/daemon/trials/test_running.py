"""The end of a busy slot's evaluation."""

from __future__ import annotations

import asyncio

import pytest

from tuned.daemon.trials.running import outcome
from tuned.domain.ending import Ending


async def ended(seconds: float) -> Ending:
    await asyncio.sleep(seconds)
    return Ending(values=(1.0,))


async def test_an_evaluation_that_was_cancelled_alone_has_no_ending() -> None:
    task = asyncio.create_task(ended(600))
    asyncio.get_running_loop().call_soon(task.cancel)
    assert await outcome(task) is None
    assert await outcome(asyncio.create_task(ended(0))) == Ending(values=(1.0,))


async def test_when_its_waiter_is_cancelled_the_evaluation_is_gone_first() -> None:
    task = asyncio.create_task(ended(600))
    waiting = asyncio.create_task(outcome(task))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert task.cancelled()
