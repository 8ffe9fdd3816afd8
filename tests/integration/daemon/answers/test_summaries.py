"""The figures of experiments as a host tells them, with and without its database."""

from __future__ import annotations

from pathlib import Path

from tests.integration.daemon.test_experiments import at_work, commanded
from tuned.daemon.answers.summaries import Summaries
from tuned.domain.claim import Claimed
from tuned.errors import DatabaseAway
from tuned.storage.link import Link


def break_off(link: Link) -> None:
    """It answers no question any more."""

    async def ask(*_: object) -> None:
        raise DatabaseAway("gone")

    link._lose(DatabaseAway("gone"))
    link.ask = ask  # type: ignore[method-assign,assignment]


async def test_the_last_figures_stay_while_the_database_is_away(sqlite_url: str, tmp_path: Path) -> None:
    async with at_work(sqlite_url, tmp_path, commanded("true")) as (local, rooms):
        summaries = Summaries(rooms.link, local, rooms.scheduler)
        assert isinstance(await local.searches["exp"].claim_next(0), Claimed)
        [known] = await summaries.active()
        break_off(rooms.link)
        summaries._fresh_until = 0.0
        assert await summaries.active() == [known]
        assert known["trials"] == 1


async def test_an_experiment_that_was_never_counted_says_that_the_database_is_away(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_work(sqlite_url, tmp_path, commanded("true")) as (local, rooms):
        break_off(rooms.link)
        [view] = await Summaries(rooms.link, local, rooms.scheduler).active()
        assert view["note"] == "its trials are not counted: the database is away"
