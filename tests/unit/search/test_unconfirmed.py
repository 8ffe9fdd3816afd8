"""A slot waits for the results of its host that are on their way, and no longer than it may."""

from __future__ import annotations

import asyncio

import pytest

from tuned.search import unconfirmed
from tuned.search.unconfirmed import Unconfirmed


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unconfirmed, "MOST_SECONDS", 3600.0)


@pytest.mark.usefixtures("_patient")
async def test_a_point_is_waited_for_until_its_own_result_has_arrived() -> None:
    results = Unconfirmed()
    results.add("c1", "a")
    results.add("c2", "b")
    waiting = asyncio.create_task(results.arrival_of("a"))
    await asyncio.sleep(0)
    results.settle("c2")
    await asyncio.sleep(0)
    assert not waiting.done()
    results.settle("c1")
    await asyncio.wait_for(waiting, 20)
    assert (len(results), results.told) == (0, 2)


@pytest.mark.usefixtures("_patient")
async def test_results_that_came_after_the_wait_began_are_not_waited_for() -> None:
    results = Unconfirmed()
    results.add("c1", "a")
    waiting = asyncio.create_task(results.arrival(3600.0))
    await asyncio.sleep(0)
    results.add("c2", "b")
    results.settle("c1")
    await asyncio.wait_for(waiting, 20)
    assert len(results) == 1


@pytest.mark.parametrize("most", [0.01, 3600.0])
async def test_a_wait_ends_by_its_own_bound_and_by_that_of_all(
    most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unconfirmed, "MOST_SECONDS", most)
    results = Unconfirmed()
    results.add("c1", "a")
    await asyncio.wait_for(results.arrival(0.01 if most > 1 else 3600.0), 20)
    assert len(results) == 1


async def test_a_result_of_an_earlier_daemon_counts_as_told_too() -> None:
    results = Unconfirmed()
    results.settle("c9")
    assert results.told == 1
    await asyncio.wait_for(results.arrival_of("a"), 20)
