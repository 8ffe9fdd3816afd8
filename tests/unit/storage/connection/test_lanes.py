"""Calls begin in the order of their urgency, and a place is never lost."""

from __future__ import annotations

import asyncio

import pytest

from tuned.storage.connection.lanes import Lane, Lanes


async def waiting(lanes: Lanes, *wanted: Lane) -> tuple[list[Lane], list[asyncio.Task[None]]]:
    """Callers that came in this order; the list grows as they get places."""
    entered: list[Lane] = []

    async def enter(lane: Lane) -> None:
        await lanes.enter(lane)
        entered.append(lane)

    tasks = [asyncio.create_task(enter(lane)) for lane in wanted]
    await turns()
    return entered, tasks


async def turns() -> None:
    """Lets all tasks go on that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_result_goes_before_looks_questions_and_claims_that_came_earlier() -> None:
    lanes = Lanes(1)
    entered, _ = await waiting(lanes, Lane.CLAIM, Lane.SHARE, Lane.CLAIM, Lane.ASK, Lane.LOOK, Lane.TELL)
    for _ in range(5):
        lanes.leave(entered[-1])
        await turns()
    assert entered == [Lane.CLAIM, Lane.TELL, Lane.LOOK, Lane.ASK, Lane.CLAIM, Lane.SHARE]


async def test_questions_leave_a_place_to_the_others() -> None:
    entered, _ = await waiting(Lanes(2), Lane.ASK, Lane.ASK, Lane.CLAIM)
    assert entered == [Lane.ASK, Lane.CLAIM]


@pytest.mark.parametrize("is_granted", [False, True])
async def test_a_caller_that_is_cancelled_keeps_no_place(*, is_granted: bool) -> None:
    lanes = Lanes(1)
    entered, [_, second] = await waiting(lanes, Lane.CLAIM, Lane.CLAIM)
    if is_granted:
        lanes.leave(Lane.CLAIM)
    second.cancel()
    await turns()
    if not is_granted:
        lanes.leave(Lane.CLAIM)
    async with asyncio.timeout(20):
        await lanes.enter(Lane.TELL)
    assert entered == [Lane.CLAIM]
