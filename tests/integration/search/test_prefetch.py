"""When points are drawn: as a slot asks, or ahead if that wait would be noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.factories import join, linked, make_experiment
from tuned.search import unconfirmed
from tuned.search.prefetch import Prefetch
from tuned.search.unconfirmed import Unconfirmed

LONG, SHORT = 3600.0, 1e-6
SLOTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One host's drafts for one study."""

    prefetch: Prefetch
    unconfirmed: Unconfirmed


@asynccontextmanager
async def drafts_of(directory: Path, sampler: str, evaluation_seconds: float) -> AsyncIterator[Bench]:
    """One point has been drawn, and its evaluation took so long."""
    experiment = make_experiment(f'[sampler]\nname = "{sampler}"\n')
    async with linked(f"sqlite:///{directory / 'tuned.db'}") as link:
        member = await asyncio.to_thread(join, link.database, experiment)
        results = Unconfirmed()
        prefetch = Prefetch(link, member.source(), results)
        await prefetch.next(SLOTS)
        prefetch.note_evaluated(evaluation_seconds)
        yield Bench(prefetch=prefetch, unconfirmed=results)


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result is waited for as long as its evaluation allows."""
    monkeypatch.setattr(unconfirmed, "MOST_SECONDS", LONG)


@pytest.mark.usefixtures("_patient")
async def test_a_point_for_long_evaluations_is_drawn_when_all_that_was_found_is_known(tmp_path: Path) -> None:
    async with drafts_of(tmp_path, "tpe", LONG) as bench:
        bench.unconfirmed.add("c1", "a")
        call = asyncio.create_task(bench.prefetch.next(SLOTS))
        finished, _ = await asyncio.wait([call], timeout=0.2)
        assert not finished
        bench.unconfirmed.settle("c1")
        bench.prefetch.draw_ahead(SLOTS)
        draft = await asyncio.wait_for(call, 20)
        assert not draft.candidate.is_ahead
        assert not (await bench.prefetch.next(SLOTS)).candidate.is_ahead


@pytest.mark.usefixtures("_patient")
async def test_a_result_is_not_waited_for_longer_than_its_share_of_an_evaluation(tmp_path: Path) -> None:
    async with drafts_of(tmp_path, "tpe", 100.0) as bench:
        bench.unconfirmed.add("c1", "a")
        draft = await asyncio.wait_for(bench.prefetch.next(SLOTS), 20)
        assert not draft.candidate.is_ahead


async def test_a_result_that_cannot_be_told_is_not_waited_for_long(tmp_path: Path) -> None:
    async with drafts_of(tmp_path, "tpe", 1000 * LONG) as bench:
        bench.unconfirmed.add("c1", "a")
        await asyncio.wait_for(bench.prefetch.next(SLOTS), 20)


@pytest.mark.usefixtures("_patient")
async def test_a_sampler_that_does_not_learn_waits_for_no_result(tmp_path: Path) -> None:
    async with drafts_of(tmp_path, "random", 1000 * LONG) as bench:
        bench.unconfirmed.add("c1", "a")
        await asyncio.wait_for(bench.prefetch.next(SLOTS), 60)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
async def test_a_point_for_short_evaluations_is_at_hand_when_a_slot_asks(
    tmp_path: Path, sampler: str
) -> None:
    async with drafts_of(tmp_path, sampler, SHORT) as bench:
        # As when a result has become known.
        bench.prefetch.draw_ahead(SLOTS)
        for _ in range(3):
            draft = await asyncio.wait_for(bench.prefetch.next(SLOTS), 20)
            assert draft.candidate.is_ahead


async def test_points_are_drawn_ahead_only_once_a_result_on_its_way_is_known(tmp_path: Path) -> None:
    async with drafts_of(tmp_path, "tpe", SHORT) as bench:
        bench.prefetch.draw_ahead(SLOTS)
        bench.unconfirmed.add("c1", "a")
        for _ in range(SLOTS):
            assert (await bench.prefetch.next(SLOTS)).candidate.is_ahead
            bench.prefetch.note_claimed(SLOTS)
        # None was begun: a slot that asks now has one drawn, with all that is known.
        assert not (await bench.prefetch.next(SLOTS)).candidate.is_ahead
        bench.unconfirmed.settle("c1")
        bench.prefetch.draw_ahead(SLOTS)
        assert (await bench.prefetch.next(SLOTS)).candidate.is_ahead


@pytest.mark.parametrize("sampler", ["tpe", "random"])
async def test_nothing_is_drawn_ahead_while_a_slot_claims(tmp_path: Path, sampler: str) -> None:
    async with drafts_of(tmp_path, sampler, SHORT) as bench:
        with bench.prefetch.claim():
            bench.prefetch.note_claimed(SLOTS)
            bench.prefetch.draw_ahead(SLOTS)
            assert not (await bench.prefetch.next(SLOTS)).candidate.is_ahead
        bench.prefetch.note_claimed(SLOTS)
        assert (await bench.prefetch.next(SLOTS)).candidate.is_ahead
