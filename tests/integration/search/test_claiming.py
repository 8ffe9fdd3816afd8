"""The way of a slot to its point: what becomes of claims whose answers come late or are refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from optuna.trial import TrialState
from sqlalchemy import select, update

from tests.factories import (
    Member,
    join,
    kill,
    line,
    linked,
    make_claimant,
    make_experiment,
    plain_optuna,
    statements,
)
from tests.integration.search.drawing import probed
from tuned.domain.claim import Action, Candidate, Claimed, Closed, Duplicate, Idle, Origin, Outcome
from tuned.domain.result import TellOutcome
from tuned.domain.states import StudyState
from tuned.events import Events
from tuned.search import unconfirmed
from tuned.search.search import Search
from tuned.storage.studies import set_state
from tuned.storage.tables.schema import trial_system_attributes, trials
from tuned.storage.trials.settling import settle_orphans
from tuned.storage.trials.tells import tell


@asynccontextmanager
async def searching(
    url: str, points: int, text: str = "", *, more: str = ""
) -> AsyncIterator[tuple[Search, Member]]:
    """One host that searches a line of so many points."""
    async with linked(url) as link:
        experiment = make_experiment(text, space=line(points) + more)
        member = await asyncio.to_thread(join, link.database, experiment)
        search = await Search.begin(
            link, Events("h1"), member.experiment, encoding=member.encoding, status=member.status,
            claimant=member.claimant, file="exp",
        )  # fmt: skip
        yield search, member


@pytest.mark.parametrize("has_risen", [False, True])
async def test_a_claim_whose_answer_comes_after_the_host_was_taken_for_dead_is_not_evaluated(
    database_url: str, has_risen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with searching(database_url, 1, "[[points]]\nx = 0") as (search, member):
        claims = search._claiming._claims
        given, may_answer, claim = threading.Event(), threading.Event(), claims.claim

        def claim_late(candidate: Candidate) -> Outcome:
            outcome = claim(candidate)
            given.set()
            assert may_answer.wait(60)
            return outcome

        monkeypatch.setattr(claims, "claim", claim_late)
        claiming = asyncio.create_task(search.claim_next(0))
        assert await asyncio.to_thread(given.wait, 60)
        kill(member.database, member.claimant)
        search.let_go()
        settle_orphans(member.database, member.status.study_id)
        if has_risen:
            await search.hold(make_claimant(member.database))
        may_answer.set()
        assert await claiming == Closed()


async def test_a_point_that_was_just_evaluated_here_is_reused_and_not_taken_for_running(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with searching(database_url, 2) as (search, member):
        claimed = await search.claim_next(0)
        assert isinstance(claimed, Claimed)
        search.note_ended(member.result(claimed, 0.5), 0.1)
        claims = search._claiming._claims
        is_asked, claim = threading.Event(), claims.claim

        def ask(candidate: Candidate) -> Outcome:
            is_asked.set()
            return claim(candidate)

        monkeypatch.setattr(claims, "claim", ask)
        again = Candidate(point=claimed.point, origin=Origin.SAMPLER)
        claiming = asyncio.create_task(search._claiming._claim(again))
        assert not await asyncio.to_thread(is_asked.wait, 0.3)
        told = await asyncio.to_thread(member.tell, claimed, 0.5)
        assert told is TellOutcome.TOLD
        search.note_told(member.result(claimed, 0.5))
        outcome = await claiming
        assert isinstance(outcome, Duplicate)
        assert outcome.action is Action.REUSE


async def test_a_draw_knows_all_that_this_host_found_and_reads_none_of_it_back(database_url: str) -> None:
    async with searching(database_url, 1000, "dedup.on_complete = 'evaluate'") as (search, member):
        probe = probed(search._claiming._source)
        search.busy = 4
        with statements(member.database) as seen:
            for n in range(6):
                claimed = await search.claim_next(0)
                assert isinstance(claimed, Claimed)
                result = member.result(claimed, float(n))
                search.note_ended(result, 0.0)
                if n % 2:
                    # The others are on their way for long.
                    assert await asyncio.to_thread(tell, member.database, result) is TellOutcome.TOLD
                    search.note_told(result)
        assert probe.known == [[float(each) for each in range(n)] for n in range(6)]
        assert not any("FROM trial_" in statement for statement in seen)


async def test_a_draw_knows_what_other_hosts_told_and_what_has_ended_here(database_url: str) -> None:
    async with searching(database_url, 100_000) as (search, member):
        other = join(member.database, member.experiment, "h2")
        probe = probed(search._claiming._source)
        claimed = await search.claim_next(0)
        assert isinstance(claimed, Claimed)
        theirs = other.draw(origin=Origin.POINTS, x=999 if claimed.point.values["x"] != 999 else 0)
        assert isinstance(theirs, Claimed)
        search.note_ended(member.result(claimed, 1.0), 0.0)
        await search.claim_next(0)
        other.tell(theirs, 2.0)
        await search.claim_next(0)
        assert probe.known[-2:] == [[1.0], [1.0, 2.0]]


async def test_a_slot_claims_once_the_results_that_may_end_the_search_are_told(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unconfirmed, "MOST_SECONDS", 3600.0)
    async with searching(database_url, 100_000, 'sampler.name = "random"') as (search, member):
        first = await search.claim_next(0)
        assert isinstance(first, Claimed)
        result = member.result(first, 0.5)
        search.note_ended(result, 3600.0 * 1000)
        claiming = asyncio.create_task(search.claim_next(0))
        await asyncio.wait([claiming], timeout=0.3)
        assert len(member.trials()) == 1
        await asyncio.to_thread(tell, member.database, result)
        search.note_told(result)
        assert isinstance(await asyncio.wait_for(claiming, 60), Claimed)


async def test_a_new_incarnation_goes_on_with_the_points_that_the_last_one_owed(database_url: str) -> None:
    async with searching(database_url, 9, "[[points]]\nx = 7\n[[points]]\nx = 8") as (search, member):
        first = await search.claim_next(0)
        assert isinstance(first, Claimed)
        later = make_claimant(member.database)
        await search.hold(later)
        second = await search.claim_next(0)
        assert isinstance(second, Claimed)
        assert (first.incarnation, second.incarnation) == (member.claimant.incarnation, later.incarnation)
        assert [each.point.values["x"] for each in (first, second)] == [7, 8]


async def test_a_point_of_the_file_whose_claim_was_refused_is_claimed_later(database_url: str) -> None:
    async with searching(database_url, 9, "[[points]]\nx = 7") as (search, member):
        set_state(member.database, member.status.study_id, StudyState.PAUSED)
        assert await search.claim_next(0) == Closed()
        set_state(member.database, member.status.study_id, StudyState.OPEN)
        claimed = await search.claim_next(0)
        assert isinstance(claimed, Claimed)
        assert (claimed.point.values["x"], claimed.candidate.origin) == (7, Origin.POINTS)


ODD = ['{"x": Infinity}', '{"x": 1e400}', f'{{"x": 1{"0" * 400}}}', '{"x": 99}', '{"x": null}', '{"x": [[]]}',
       "[1]", "7", "{oops"]  # fmt: skip


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
async def test_enqueued_trials_that_do_not_fit_fail_alone_and_at_once(
    database_url: str, sampler: str
) -> None:
    async with searching(database_url, 3, f'[sampler]\nname = "{sampler}"') as (search, member):
        with plain_optuna(member.database) as study:
            for _ in ODD:
                study.enqueue_trial({"x": 1})
        with member.database.transaction() as connection:
            for odd, trial_id in zip(ODD, member.now().waiting, strict=True):
                its = trial_system_attributes.c.trial_id == trial_id
                connection.execute(update(trial_system_attributes).where(its).values(value_json=odd))
        await search.refresh()
        assert isinstance(await search.claim_next(0), Claimed)
        with member.database.reading() as connection:
            states = connection.execute(select(trials.c.state).order_by(trials.c.trial_id)).scalars().all()
        assert states == [TrialState.FAIL] * len(ODD) + [TrialState.RUNNING]
        ended = [trial for trial in member.trials() if trial.state is TrialState.FAIL]
        failed = [trial.user_attrs["FAILURE"]["message"] for trial in ended]
        assert all(message.startswith("cannot evaluate the enqueued parameters: ") for message in failed)
        assert max(map(len, failed)) < 400
        assert member.now().waiting == ()


async def test_a_sampler_that_draws_only_what_is_forbidden_does_not_keep_the_walk_from_the_last_point(
    database_url: str,
) -> None:
    random = '[sampler]\nname = "random"\n[dedup]\npatience = 2'
    async with searching(database_url, 9999, random, more="[[forbid]]\nx = { min = 3 }") as (search, member):
        assert member.status.size == 3
        outcomes = [await search.claim_next(0) for _ in range(12)]
        claimed = [each for each in outcomes if isinstance(each, Claimed)]
        assert {each.point.values["x"] for each in claimed} == {0, 1, 2}
        assert isinstance(outcomes[-1], Idle)
