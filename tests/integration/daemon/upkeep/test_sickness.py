"""A host whose experiment crashes in a row rests it, and gives back once it goes well elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from tests.factories import CRASH, Member, join, line, linked, make_experiment
from tests.waiting import until_async
from tuned.daemon.upkeep.sickness import Sickness
from tuned.domain.ending import MOST_CRASHES_IN_A_ROW, Ending
from tuned.domain.states import SearchState
from tuned.events import Events
from tuned.search.search import Search


@dataclass
class Site:
    well: Member
    sick: Member
    search: Search
    #: Searches whose studies were looked at anew.
    checked: list[Search] = field(default_factory=list)

    async def check(self, search: Search) -> None:
        self.checked.append(search)

    def crash(self, first: int, *, is_counted: bool = True) -> None:
        for x in range(first, first + MOST_CRASHES_IN_A_ROW):
            self.sick.evaluate(x)
            if is_counted:
                self.search.count_ending(Ending(failure=CRASH))


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    async with linked(database_url) as link:
        experiment = make_experiment(space=line(40))
        well = await asyncio.to_thread(join, link.database, experiment, "well")
        sick = await asyncio.to_thread(join, link.database, experiment, "sick")
        well.evaluate(0, 0.5)
        search = await Search.begin(
            link, Events("sick"), experiment, encoding=sick.encoding, status=sick.status,
            claimant=sick.claimant, file="exp",
        )  # fmt: skip
        made = Site(well, sick, search)
        task = asyncio.create_task(Sickness(link, {"exp": search}, made.check).run(0.05))
        yield made
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_sick_host_gives_back_when_it_goes_well_elsewhere_later(site: Site) -> None:
    site.crash(1)
    assert site.search.reason == "10 crashes in a row on this host; fix it, then: tunectl resume exp"
    site.well.evaluate(20, 0.4)
    await until_async(lambda: bool(site.checked), what="the giving back", seconds=60)
    assert (site.search.state, site.well.now().free, site.well.now().trials) == (SearchState.PAUSED, 10, 2)
    assert "and others do well: given back; fix it, then: tunectl resume exp" in site.search.reason


async def test_what_an_earlier_daemon_left_is_given_back_and_this_one_works(site: Site) -> None:
    site.crash(1, is_counted=False)
    site.well.evaluate(20, 0.4)
    await until_async(lambda: bool(site.checked), what="the giving back", seconds=60)
    assert (site.search.state, site.well.now().free) == (SearchState.WORKING, 10)
