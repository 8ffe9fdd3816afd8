"""The hours of a host: nothing starts at other times, and trials that still run are ended or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.factories import Member
from tests.integration.daemon.test_scheduler import a_script, serving
from tests.integration.daemon.wiring import Rooms
from tests.waiting import until_async
from tuned.config.hours import Hours
from tuned.daemon.upkeep import hours as hours_module
from tuned.daemon.upkeep.hours import WorkingHours
from tuned.domain.claim import Outcome
from tuned.search.search import Search

pytestmark = pytest.mark.usefixtures("_subreaper")

NIGHT = Hours.parse(["22:00-07:00"])


def at(text: str) -> float:
    """In the system's zone, on some day."""
    return datetime.fromisoformat(f"2026-06-03 {text}").timestamp()


@dataclass(slots=True)
class Clock:
    """It stands still until it is set, and counts how often it is read."""

    now: float
    readings: int = 0

    def __call__(self) -> float:
        self.readings += 1
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    rooms: Rooms
    search: Search
    member: Member
    hours: WorkingHours
    clock: Clock


@asynccontextmanager
async def working(url: str, home: Path, script: str, now: str) -> AsyncIterator[Host]:
    async with serving(url, home, a_script(script)) as (rooms, search, member):
        clock = Clock(at(now))
        hours = WorkingHours(rooms.link, rooms.scheduler, lambda: member.claimant, clock=clock)
        hours.limit(NIGHT, "finish")
        running = asyncio.create_task(hours.run())
        yield Host(rooms=rooms, search=search, member=member, hours=hours, clock=clock)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def until_running(host: Host) -> None:
    await until_async(lambda: host.rooms.scheduler.running("exp"), what="a trial", seconds=60)


async def test_nothing_starts_outside_of_the_hours_and_all_does_once_they_begin(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with working(sqlite_url, tmp_path, "echo 0.5", "21:59:59.700") as host:
        await until_async(lambda: host.clock.readings == 2, what="a look")
        assert host.hours.off is not None
        assert datetime.fromisoformat(host.hours.off["until"]).timestamp() == at("22:00")
        assert datetime.fromisoformat(host.hours.off["since"]).timestamp() == at("07:00")
        assert not host.rooms.scheduler.running("exp")
        host.clock.now = at("22:00")
        # Nobody wakes it: it sleeps until the edge.
        await until_async(lambda: host.search.status.visited == 3, what="all points", seconds=60)
        assert host.hours.off is None


async def test_what_runs_at_the_end_of_the_hours_finishes_and_nothing_follows(
    sqlite_url: str, tmp_path: Path
) -> None:
    script = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo 0.5"
    async with working(sqlite_url, tmp_path, script, "06:00") as host:
        await until_running(host)
        host.clock.now = at("07:00")
        host.hours.limit(NIGHT, "finish")
        (tmp_path / "go").touch()
        await until_async(lambda: host.search.status.visited == 1, what="its value", seconds=60)
        await until_async(lambda: host.search.busy == 0, what="an idle slot")
        assert [trial.state for trial in host.member.trials()] == [TrialState.COMPLETE]


async def test_what_runs_at_the_end_of_the_hours_is_killed_refunded_and_free(
    database_url: str, tmp_path: Path
) -> None:
    async with working(database_url, tmp_path, "sleep 1000", "06:00") as host:
        await until_running(host)
        host.clock.now = at("07:00")
        host.hours.limit(NIGHT, "abort")
        await until_async(lambda: host.member.now().free == 1, what="a free point", seconds=60)
        assert host.rooms.scheduler.slots == [None]
        assert [trial.state for trial in host.member.trials()] == [TrialState.FAIL]
        assert (host.member.now().trials, host.member.now().evaluations) == (0, 0)
        # It goes on in the next night.
        host.clock.now = at("22:00")
        host.hours.limit(NIGHT, "abort")
        await until_running(host)


async def test_a_clock_that_is_set_is_noticed_at_the_next_look(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hours_module, "LOOK_SECONDS", 0.01)
    async with working(sqlite_url, tmp_path, "echo 0.5", "12:00") as host:
        await until_async(lambda: host.clock.readings > 3, what="some looks")
        assert not host.member.trials()
        host.clock.now = at("23:00")
        await until_async(lambda: host.search.status.visited == 3, what="all points", seconds=60)


async def test_a_point_whose_claim_is_granted_after_the_end_goes_back(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_claimed, may_answer, claim = asyncio.Event(), asyncio.Event(), Search.claim_next

    async def claim_slowly(search: Search, slot: int) -> Outcome:
        outcome = await claim(search, slot)
        is_claimed.set()
        await may_answer.wait()
        return outcome

    monkeypatch.setattr(Search, "claim_next", claim_slowly)
    async with working(sqlite_url, tmp_path, f"touch {tmp_path}/begun", "06:00") as host:
        await asyncio.wait_for(is_claimed.wait(), 60)
        host.clock.now = at("07:00")
        host.hours.limit(NIGHT, "finish")
        may_answer.set()
        await until_async(lambda: host.member.now().free == 1, what="a free point", seconds=60)
        assert not (tmp_path / "begun").exists()
        assert host.member.now().evaluations == 0


async def test_without_hours_the_clock_is_not_looked_at_again(sqlite_url: str, tmp_path: Path) -> None:
    async with working(sqlite_url, tmp_path, "echo 0.5", "12:00") as host:
        host.hours.limit(Hours(), "finish")
        await until_async(lambda: host.search.status.visited == 3, what="all points", seconds=60)
        assert host.hours.off is None
        assert host.clock.readings <= 4
