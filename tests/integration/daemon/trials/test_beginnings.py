"""A daemon that is replaced claims nothing more, and waits until the keeper has all that is claimed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.daemon.test_scheduler import a_script, serving
from tests.waiting import until_async
from tuned.daemon.trials import beginnings
from tuned.domain.claim import Outcome
from tuned.search.search import Search

pytestmark = pytest.mark.usefixtures("_subreaper")


async def test_a_claim_under_way_begins_and_nothing_is_claimed_until_the_daemon_goes_on(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_claimed, may_go_on, claim = asyncio.Event(), asyncio.Event(), Search.claim_next

    async def claim_slowly(search: Search, slot: int) -> Outcome:
        outcome = await claim(search, slot)
        is_claimed.set()
        await may_go_on.wait()
        return outcome

    monkeypatch.setattr(Search, "claim_next", claim_slowly)
    async with serving(sqlite_url, tmp_path, a_script("echo 0.5")) as (rooms, search, member):
        await is_claimed.wait()
        holding = asyncio.create_task(rooms.scheduler.beginnings.hold())
        await asyncio.wait([holding], timeout=5 * beginnings.PAUSE_SECONDS)
        assert not holding.done()
        may_go_on.set()
        await holding
        assert all(each.has_begun for each in rooms.scheduler.running("exp"))
        await until_async(lambda: search.status.visited == 1, what="the trial", seconds=60)
        await until_async(lambda: search.busy == 0, what="an idle slot")
        assert len(member.trials()) == 1
        rooms.scheduler.go_on()
        await until_async(lambda: search.status.visited == 3, what="the others", seconds=60)


async def test_a_claim_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "BEGIN_SECONDS", 0.0)
    slots = beginnings.Beginnings([None])
    with slots.claiming() as may_claim:
        assert may_claim
        await asyncio.wait_for(slots.hold(), 60)
    with slots.claiming() as may_claim:
        assert not may_claim
