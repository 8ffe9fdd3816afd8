"""The first screen, letter by letter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.tunectl.top.made import MadeHost, opened
from tuned.errors import DatabaseAway
from tuned.tunectl.client import Client
from tuned.tunectl.top.overview import OverviewPage

SIZES = [(80, 24), (120, 30), (200, 50)]


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_overview_as_a_person_sees_it(path: Path, size: tuple[int, int]) -> None:
    async with opened(path, size) as screen:
        await screen.until("beta")
        screen.must_be("overview")


@pytest.mark.usefixtures("host")
async def test_without_unicode_and_colours_it_says_the_same(path: Path) -> None:
    async with opened(path, is_ascii=True, has_colours=False) as screen:
        await screen.until("beta")
        assert screen.text.isascii()
        screen.must_be("overview-ascii")
        styles = {segment.style for y in range(24) for segment in screen.app._sheet.render_line(y)}
        assert all(style is None or style.color is None for style in styles)


async def test_an_outage_of_the_database_is_told_and_the_last_hosts_stay(host: MadeHost, path: Path) -> None:
    async with opened(path) as screen:
        await screen.until("beta")

        async def away() -> None:
            raise DatabaseAway("the database does not answer")

        host.hosts = away  # type: ignore[assignment,method-assign]
        host.experiments_here = []
        host.events.publish("database-away", message="x")
        await screen.until("No open experiments")
        assert "beta" in screen.text


async def test_a_course_is_asked_again_only_if_the_best_value_has_changed(host: MadeHost, path: Path) -> None:
    asked: list[str] = []
    answer = host.improvements

    async def improvements(name: str) -> object:
        asked.append(name)
        return await answer(name)

    host.improvements = improvements  # type: ignore[assignment,method-assign]
    page = OverviewPage()
    for _ in range(3):
        await asyncio.to_thread(lambda: list(page.pictures(Client([path]))))
    assert asked == ["minima", "resnet"]
    best = host.experiments_here[0]["best"]
    assert best is not None
    host.experiments_here[0]["best"] = {**best, "number": 44}
    await asyncio.to_thread(lambda: list(page.pictures(Client([path]))))
    assert asked == ["minima", "resnet", "minima"]


async def test_warnings_stand_below_the_headline_and_are_few(host: MadeHost, path: Path) -> None:
    host.warnings = [f"look at {number}\x1b[2J" for number in range(9)]
    async with opened(path) as screen:
        await screen.until("beta")
        assert [line[:10] for line in screen.lines[1:4]] == ["look at 0\\", "look at 1\\", "and 7 more"]
        # They are no rows.
        await screen.press("enter")
        await screen.until("PARAMETER")


async def test_an_experiment_that_ends_stays_and_says_why(host: MadeHost, path: Path) -> None:
    async with opened(path) as screen:
        await screen.until("beta")
        minima = host.experiments_here.pop(0)
        host.ended_here = [{**minima, "state": "done", "ended_by": "target 0.99 reached by trial 41 on h3"}]
        host.events.publish("experiment-state", experiment="minima", state="done")
        await screen.until("target 0.99 reached by trial 41 on h3")
        host.experiments_here.append(minima)
        host.ended_here = []
        host.events.publish("experiment-state", experiment="minima", state="running")
        await screen.until_not("target 0.99")
        assert "minima" in screen.text


async def test_an_experiment_that_is_deleted_goes(host: MadeHost, path: Path) -> None:
    page = OverviewPage()
    client = Client([path])
    *_, before = await asyncio.to_thread(lambda: [*page.pictures(client)])
    host.experiments_here = [each for each in host.experiments_here if each["name"] != "resnet"]
    *_, after = await asyncio.to_thread(lambda: [*page.pictures(client)])
    assert "resnet" in {each["name"] for each in before.status["experiments"]}
    assert after.ended == []
