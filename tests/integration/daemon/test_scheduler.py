"""Slots: a search is served with real trials until it is over, drained or interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.factories import Member, join, line, linked, make_experiment
from tests.integration.daemon.wiring import Rooms, wired
from tests.integration.search.drawing import probed
from tests.waiting import until_async
from tuned.domain.claim import Claimed, Outcome
from tuned.domain.result import Result, TellOutcome
from tuned.experiment.experiment import Experiment, parse
from tuned.search.search import Search

pytestmark = pytest.mark.usefixtures("_subreaper")


def a_script(script: str) -> Experiment:
    """Three points, for each of which the script is run."""
    text = f'sampler.name = "grid"\n[objective]\ncommand = ["sh", "-c", "{script}"]\n{line(3)}'
    return parse(text.encode(), "exp.toml")


@asynccontextmanager
async def serving(
    url: str, home: Path, experiment: Experiment
) -> AsyncIterator[tuple[Rooms, Search, Member]]:
    """One host whose slot serves one search."""
    async with linked(url) as link:
        with wired(link, home) as rooms:
            member = await asyncio.to_thread(join, link.database, experiment)
            search = await Search.begin(
                link, rooms.events, experiment, encoding=member.encoding, status=member.status,
                claimant=member.claimant, file="exp",
            )  # fmt: skip
            rooms.scheduler.admit(search)

            async def note(result: Result, _told: TellOutcome) -> None:
                search.note_told(result)
                await search.refresh()
                rooms.scheduler.wake()

            tasks = [
                asyncio.create_task(rooms.scheduler.run()),
                asyncio.create_task(rooms.teller.run(note)),
            ]
            yield rooms, search, member
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


async def test_each_draw_knows_the_result_of_the_trial_that_has_just_ended(
    database_url: str, tmp_path: Path
) -> None:
    text = '[objective]\ncommand = ["sh", "-c", "echo $TUNED_TRIAL"]\n[budget]\ntrials = 6\n'
    experiment = parse(f"{text}{line(1000)}".encode(), "exp.toml")
    async with serving(database_url, tmp_path, experiment) as (rooms, search, member):
        # No slot has begun yet.
        probe = probed(search._claiming._source)
        await until_async(lambda: search.status.trials == 6, what="all trials", seconds=60)
        await rooms.teller.emptied()
        values = [trial.value for trial in member.trials()]
        assert probe.known[:6] == [values[:n] for n in range(6)]


async def test_each_point_is_evaluated_once_and_the_slot_is_idle_after_it(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with serving(sqlite_url, tmp_path, a_script("echo 0.5")) as (rooms, search, member):
        await until_async(lambda: search.status.visited == 3, what="all points", seconds=60)
        await until_async(lambda: rooms.scheduler.slots == [None], what="an idle slot")
        assert sorted(trial.params["x"] for trial in member.trials()) == [0, 1, 2]
        assert {trial.state for trial in member.trials()} == {TrialState.COMPLETE}


async def test_an_interrupted_search_has_no_trial_and_its_points_are_free(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with serving(sqlite_url, tmp_path, a_script("sleep 1000")) as (rooms, search, member):
        await until_async(lambda: rooms.scheduler.running("exp"), what="a trial", seconds=60)
        with search.ending():
            await rooms.scheduler.interrupt(search, member.claimant.incarnation)
        assert rooms.scheduler.slots == [None]
        assert [trial.state for trial in member.trials()] == [TrialState.FAIL]
        assert (member.now().free, member.now().evaluations) == (1, 0)


@pytest.mark.parametrize("is_charged", [True, False])
async def test_an_evaluation_that_ended_stays_charged_if_its_trial_is_interrupted_before_the_next(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_charged: bool
) -> None:
    has_ended, charge = asyncio.Event(), Search.charge_retry

    async def charge_slowly(search: Search, claimed: Claimed, charged: int) -> bool:
        if is_charged:
            assert await charge(search, claimed, charged)
        has_ended.set()
        return await asyncio.Future()

    monkeypatch.setattr(Search, "charge_retry", charge_slowly)
    text = f'[objective]\ncommand = ["echo", "0.5"]\n[replicates]\ncount = 3\n{line(3)}'
    experiment = parse(text.encode(), "exp.toml")
    async with serving(sqlite_url, tmp_path, experiment) as (rooms, search, member):
        await asyncio.wait_for(has_ended.wait(), 60)
        assert member.now().evaluations == 1 + is_charged
        with search.ending():
            await rooms.scheduler.interrupt(search, member.claimant.incarnation)
        assert (member.now().free, member.now().trials, member.now().evaluations) == (1, 0, 1)


async def test_a_claim_that_is_granted_while_its_search_ends_starts_no_trial(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_claimed, may_answer = asyncio.Event(), asyncio.Event()
    claim = Search.claim_next

    async def claim_slowly(search: Search, slot: int) -> Outcome:
        outcome = await claim(search, slot)
        is_claimed.set()
        await may_answer.wait()
        return outcome

    monkeypatch.setattr(Search, "claim_next", claim_slowly)
    script = f"touch {tmp_path}/begun; sleep 1000"
    async with serving(sqlite_url, tmp_path, a_script(script)) as (rooms, search, member):
        await asyncio.wait_for(is_claimed.wait(), 60)
        with search.ending():
            ending = asyncio.create_task(rooms.scheduler.interrupt(search, member.claimant.incarnation))
            await asyncio.sleep(0)
            may_answer.set()
            await asyncio.wait_for(ending, 60)
        assert not (tmp_path / "begun").exists()
        assert (member.now().free, member.now().evaluations) == (1, 0)


async def test_a_drained_slot_finishes_its_trial_and_claims_nothing_more(
    sqlite_url: str, tmp_path: Path
) -> None:
    script = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo 0.5"
    async with serving(sqlite_url, tmp_path, a_script(script)) as (rooms, search, member):
        await until_async(lambda: rooms.scheduler.running("exp"), what="a trial", seconds=60)
        rooms.scheduler.drain()
        (tmp_path / "go").touch()
        await until_async(lambda: search.status.visited == 1, what="its value", seconds=60)
        assert [trial.state for trial in member.trials()] == [TrialState.COMPLETE]


async def test_an_experiment_rests_until_the_host_has_the_cards_that_it_wants(
    sqlite_url: str, tmp_path: Path
) -> None:
    experiment = make_experiment("[resources]\ngpus = 1\n")
    async with serving(sqlite_url, tmp_path, experiment) as (rooms, search, _member):
        assert search.shortfall.missing
        assert not search.may_start(1)
        rooms.scheduler.equip(["0"])
        assert search.shortfall.missing == ""
        assert search.may_start(1)
