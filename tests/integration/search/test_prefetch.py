"""When points are drawn: as a slot asks, or ahead of that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories import join, linked, make_experiment
from tuned.search.prefetch import Prefetch
from tuned.search.sampling import Draft, PointSource

SLOTS = 4

#: Of a draw, in seconds.
DRAW = 1.0


class TimedSource(PointSource):
    """Says of each draw that it took so long, on a machine of any speed."""

    def draw(self) -> Draft:
        return replace(super().draw(), seconds=DRAW)


@asynccontextmanager
async def prefetch_of(directory: Path, sampler: str) -> AsyncIterator[Prefetch]:
    """One point has been drawn, and its evaluation has not ended."""
    experiment = make_experiment(f'[sampler]\nname = "{sampler}"\n')
    async with linked(f"sqlite:///{directory / 'tuned.db'}") as link:
        member = await asyncio.to_thread(join, link.database, experiment)
        source = TimedSource(link.database, experiment, member.encoding, member.status, member.claimant)
        prefetch = Prefetch(link, source)
        await prefetch.next(SLOTS)
        yield prefetch


async def ahead(prefetch: Prefetch, slots: int = SLOTS) -> int:
    """How many points are at hand after one of so many slots has claimed."""
    prefetch.note_claimed(slots)
    found = 0
    while (await asyncio.wait_for(prefetch.next(slots), 60)).candidate.is_ahead:
        found += 1
    return found


def note(prefetch: Prefetch, evaluation_seconds: float) -> None:
    """From now on evaluations take so long."""
    for _ in range(5):
        prefetch.note_evaluated(evaluation_seconds)


async def test_a_sampler_that_learns_draws_as_a_slot_asks_or_one_point_ahead(tmp_path: Path) -> None:
    async with prefetch_of(tmp_path, "tpe") as prefetch:
        assert await ahead(prefetch) == 0
        for evaluation_seconds, slots, expected, reason in [
            (10.5 * DRAW, SLOTS, 0, "a draw takes less than a tenth of an evaluation"),
            (9.5 * DRAW, SLOTS, 1, "a draw takes more"),
            (3.5 * DRAW, SLOTS, 1, "draws for all other slots take less than an evaluation"),
            (2.5 * DRAW, SLOTS, 0, "all slots wait for draws"),
            (0.0, SLOTS, 0, "evaluations take no time"),
            (0.5 * DRAW, 1, 1, "one slot"),
        ]:
            note(prefetch, evaluation_seconds)
            assert await ahead(prefetch, slots) == expected, reason


async def test_a_sampler_that_does_not_learn_draws_so_many_ahead_that_no_slot_waits(tmp_path: Path) -> None:
    async with prefetch_of(tmp_path, "random") as prefetch:
        # Evaluations may turn out to be short.
        assert await ahead(prefetch) == SLOTS
        for evaluation_seconds, expected in [(0.0, 4), (300 * DRAW, 3), (3600 * DRAW, 0)]:
            note(prefetch, evaluation_seconds)
            assert await ahead(prefetch) == expected


async def test_a_point_that_was_drawn_ahead_is_dropped_if_slots_need_none_any_more(tmp_path: Path) -> None:
    async with prefetch_of(tmp_path, "tpe") as prefetch:
        note(prefetch, 5 * DRAW)
        prefetch.note_claimed(SLOTS)
        note(prefetch, 3600.0)
        assert not (await asyncio.wait_for(prefetch.next(SLOTS), 60)).candidate.is_ahead


@pytest.mark.parametrize("sampler", ["tpe", "random"])
async def test_nothing_is_drawn_ahead_while_a_slot_claims(tmp_path: Path, sampler: str) -> None:
    async with prefetch_of(tmp_path, sampler) as prefetch:
        note(prefetch, 5 * DRAW)
        with prefetch.claim():
            assert await ahead(prefetch) == 0
        assert await ahead(prefetch) > 0


async def test_slots_that_wait_for_a_slow_sampler_leave_threads_to_other_searches(tmp_path: Path) -> None:
    async with prefetch_of(tmp_path, "tpe") as prefetch:
        link, slow = prefetch._link, prefetch._source
        other = await asyncio.to_thread(join, link.database, make_experiment(name="other"))
        with slow._lock:
            waiting = [asyncio.create_task(prefetch.next(SLOTS)) for _ in range(SLOTS)]
            await asyncio.sleep(0)
            await asyncio.wait_for(Prefetch(link, other.source()).next(1), 60)
            assert not any(each.done() for each in waiting)
        await asyncio.wait_for(asyncio.gather(*waiting), 60)
