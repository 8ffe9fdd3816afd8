"""The feed asks in threads of its own, and ends without waiting for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.tunectl.top.made import MadeHost
from tests.waiting import until_async
from tuned.errors import NotFound
from tuned.protocol.experiments import ExperimentView
from tuned.tunectl.client import Client
from tuned.tunectl.top.feed import Delivery, Feed, Told
from tuned.tunectl.top.overview import OverviewPage
from tuned.tunectl.top.paper import Picture, Target

if TYPE_CHECKING:
    import pytest


class Broken:
    """A page of something that is no longer there."""

    target = Target("gone")

    def pictures(self, client: Client) -> Iterator[Picture]:
        client.get("/v1/experiments/gone", ExperimentView)
        yield from ()


async def until_ended(feed: Feed) -> None:
    await until_async(lambda: not any(each.is_alive() for each in feed._threads), what="the feed's end")


async def test_an_error_of_one_page_is_delivered_and_the_next_page_is_asked_at_once(
    host: MadeHost, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuned.tunectl.top.feed.REFRESH_SECONDS", 600.0)
    assert host.experiments_here
    found: list[Delivery | Told] = []
    feed = Feed(Client([path]), found.append)
    feed.watch(Broken())
    await until_async(lambda: found, what="an error")
    assert isinstance(found[0], Delivery)
    assert isinstance(found[0].problem, NotFound)
    page = OverviewPage()
    feed.watch(page)

    def is_there() -> bool:
        return any(isinstance(each, Delivery) and each.page is page and each.picture for each in found)

    await until_async(is_there, what="the overview")
    feed.stop()
    feed.stop()
    await until_ended(feed)


async def test_it_ends_while_the_daemon_is_silent(path: Path) -> None:
    accepted = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await ended.wait()
        writer.close()

    ended = asyncio.Event()
    async with await asyncio.start_unix_server(silent, path):
        feed = Feed(Client([path]), lambda _: None)
        feed.watch(OverviewPage())
        await asyncio.wait_for(accepted.wait(), 20)
        feed.stop()
        ended.set()
        await until_ended(feed)
