"""One experiment on one host: what becomes of claims whose answers come late."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.factories import join, kill, line, make_experiment, make_holder, opened
from tuned.domain.claim import Action, Candidate, Claimed, Closed, Duplicate, Origin, Outcome
from tuned.domain.result import TellOutcome
from tuned.events import Events
from tuned.search.search import Search
from tuned.storage.link import Link
from tuned.storage.settling import settle_orphans


@pytest.mark.parametrize("has_risen", [False, True])
async def test_a_claim_whose_answer_comes_after_the_host_was_taken_for_dead_is_not_evaluated(
    database_url: str, has_risen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(database_url) as database:
        link = Link(database, Events("h1"), last_retry_seconds=1.0)
        await link.prepare()
        member = join(database, make_experiment("[[points]]\nx = 0", space=line(1)))
        search = Search(
            link, member.experiment, encoding=member.encoding, status=member.status,
            claimant=member.claimant, file="exp",
        )  # fmt: skip
        given, may_answer, claim = threading.Event(), threading.Event(), search._claims.claim

        def claim_late(candidate: Candidate) -> Outcome:
            outcome = claim(candidate)
            given.set()
            assert may_answer.wait(60)
            return outcome

        monkeypatch.setattr(search._claims, "claim", claim_late)
        claiming = asyncio.create_task(search.claim_next(0))
        assert await asyncio.to_thread(given.wait, 60)
        kill(database, member.claimant)
        search.let_go()
        settle_orphans(database, member.status.study_id)
        if has_risen:
            search.hold(make_holder(database))
        may_answer.set()
        assert await claiming == Closed()
        link.close()


async def test_a_point_that_was_just_evaluated_here_is_reused_and_not_taken_for_running(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(database_url) as database:
        link = Link(database, Events("h1"), last_retry_seconds=1.0)
        await link.prepare()
        member = join(database, make_experiment(space=line(2)))
        search = Search(
            link, member.experiment, encoding=member.encoding, status=member.status,
            claimant=member.claimant, file="exp",
        )  # fmt: skip
        claimed = await search.claim_next(0)
        assert isinstance(claimed, Claimed)
        search.note_ended(claimed, 0.1)
        is_asked, claim = threading.Event(), search._claims.claim

        def ask(candidate: Candidate) -> Outcome:
            is_asked.set()
            return claim(candidate)

        monkeypatch.setattr(search._claims, "claim", ask)
        again = Candidate(point=claimed.point, origin=Origin.SAMPLER)
        claiming = asyncio.create_task(search._claim(again))
        assert not await asyncio.to_thread(is_asked.wait, 0.3)
        told = await asyncio.to_thread(member.tell, claimed, 0.5)
        assert told is TellOutcome.TOLD
        search.note_told(claimed.trial_id)
        outcome = await claiming
        assert isinstance(outcome, Duplicate)
        assert outcome.action is Action.REUSE
        link.close()
