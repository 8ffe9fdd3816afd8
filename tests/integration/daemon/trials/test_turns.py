"""Whose turn it is: the order of experiments on one host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.factories import join, linked, make_experiment
from tuned.daemon.gpu_pool import Gpus
from tuned.daemon.trials.turns import Turns
from tuned.domain.resources import Shortfall
from tuned.events import Events
from tuned.search.search import Search


@asynccontextmanager
async def searches(url: str, **keys: str) -> AsyncIterator[tuple[Search, ...]]:
    """Of experiments by name, each with these keys."""
    async with linked(url) as link:
        found = []
        for name, extra in keys.items():
            member = await asyncio.to_thread(join, link.database, make_experiment(extra, name=name))
            search = await Search.begin(
                link, Events("h1"), member.experiment, encoding=member.encoding, status=member.status,
                claimant=member.claimant, file=name,
            )  # fmt: skip
            found.append(search)
        yield tuple(found)


def served(turns: Turns, of: tuple[Search, ...], count: int, gpus: Gpus | None = None) -> list[str]:
    """The names of the searches that so many free slots serve, one after the other."""
    names = []
    for _ in range(count):
        if (found := turns.next(of, count, gpus or Gpus(()))) is not None:
            found[0].busy += 1
            names.append(found[0].name)
    return names


async def test_equal_experiments_share_the_slots(sqlite_url: str) -> None:
    async with searches(sqlite_url, a="", b="", c="") as found:
        assert served(Turns(), found, 6) == ["a", "b", "c", "a", "b", "c"]


async def test_a_higher_priority_gets_all_slots_that_it_may_use_and_equal_ones_share_the_rest(
    sqlite_url: str,
) -> None:
    low, high = "[fleet]\npriority = -5", "parallel = 3\n[fleet]\npriority = 7"
    async with searches(sqlite_url, low=low, a="", b="", high=high) as found:
        assert served(Turns(), found, 6) == ["high", "high", "high", "a", "b", "a"]


async def test_one_that_rests_or_has_all_its_trials_in_flight_keeps_nobody_from_a_slot(
    sqlite_url: str,
) -> None:
    async with searches(sqlite_url, low="", high="[fleet]\npriority = 1") as found:
        _low, high = found
        high.assess(Shortfall(missing="needs a label"))
        assert served(Turns(), found, 2) == ["low", "low"]
        high.assess(Shortfall())
        assert served(Turns(), found, 2) == ["high", "high"]


async def test_one_that_waits_for_a_card_lets_those_go_on_that_want_none(sqlite_url: str) -> None:
    keys = {
        "card": "[resources]\ngpus = 1\n", "none": "", "pair": "[resources]\ngpus = 2\n[fleet]\npriority = 9",
    }  # fmt: skip
    async with searches(sqlite_url, **keys) as found:
        gpus, turns = Gpus(["0", "1"]), Turns()
        held = gpus.take(["1"], found[0].experiment.resources.cards)
        assert served(turns, found, 2, gpus) == ["none", "none"]
        gpus.give_back(held)
        assert served(turns, found, 1, gpus) == ["pair"]
