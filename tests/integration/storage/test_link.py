"""The link calls the database in threads, and knows whether it is reachable."""

from __future__ import annotations

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from tests.factories import linked
from tests.fleet.test_outages import frozen
from tests.postgres import PostgresServer
from tuned.errors import DatabaseAway
from tuned.events import Events
from tuned.storage import link as link_module
from tuned.storage.connection.engine import DRAW_THREADS
from tuned.storage.database import Database
from tuned.storage.hosts import hosts
from tuned.storage.link import Link


async def test_nothing_is_called_before_the_database_is_prepared(sqlite_url: str) -> None:
    link = Link(Database(sqlite_url), Events("h1"), last_retry_seconds=1.0)
    with pytest.raises(DatabaseAway, match="is being prepared"):
        await link.call(hosts)
    await link.prepare()
    assert await link.call(hosts) == []
    link.close()


async def test_an_outage_is_known_until_the_server_is_back(postgres: PostgresServer) -> None:
    async with linked(postgres.url()) as link, asyncio.timeout(60):
        await asyncio.to_thread(postgres.stop)
        with pytest.raises(DatabaseAway):
            await link.call(hosts)
        await link.lost()
        assert link.message
        await asyncio.to_thread(postgres.start)
        await link.back()
        assert await link.call(hosts) == []
        assert not link.message


async def test_a_draw_that_takes_long_delays_neither_call_nor_beat(sqlite_url: str) -> None:
    began, may_end = threading.Semaphore(0), threading.Event()

    def draw() -> bool:
        began.release()
        return may_end.wait(60)

    async with linked(sqlite_url) as link, asyncio.timeout(30):
        draws = [asyncio.create_task(link.draw(draw)) for _ in range(4)]
        for _ in range(DRAW_THREADS):
            assert await asyncio.to_thread(began.acquire, timeout=20)
        assert await link.call(hosts) == await link.beat(hosts) == []
        may_end.set()
        assert await asyncio.gather(*draws) == [True] * 4


async def test_a_call_whose_caller_was_cancelled_still_lands(sqlite_url: str) -> None:
    began, may_end = threading.Event(), threading.Event()

    def call() -> bool:
        began.set()
        return may_end.wait(60)

    async with linked(sqlite_url) as link, asyncio.timeout(60):
        caller = asyncio.create_task(link.run(call))
        await asyncio.to_thread(began.wait, 60)
        caller.cancel()
        landing = asyncio.create_task(link.landed(60))
        await asyncio.sleep(0)
        assert not landing.done()
        may_end.set()
        await landing
        assert caller.cancelled()


async def test_a_database_that_answers_but_refuses_again_is_away_all_the_time(sqlite_url: str) -> None:
    refusals = iter(range(3))

    def refuse(_: Database) -> None:
        if next(refusals, None) is not None:
            raise DatabaseAway("the disk is full", remedy="make room")

    async with linked(sqlite_url) as link, asyncio.timeout(60):
        with capture_logs() as logged:
            while True:
                try:
                    await link.tell(refuse)
                    break
                except DatabaseAway:
                    assert (link.message, link.remedy) == ("the disk is full", "make room")
                    # Others may ask meanwhile, and that proves nothing.
                    assert await link.ask(hosts) == []
                    await link.back()
        assert [record["event"] for record in logged] == ["database away", "database back"]
        assert not link.message


async def test_the_database_is_back_only_for_all_that_waited_for_it(sqlite_url: str) -> None:
    # The first one is not even tried.
    tells = iter([hosts, refuse_once, hosts])
    async with linked(sqlite_url) as link, asyncio.timeout(60):
        with capture_logs() as logged:
            with pytest.raises(DatabaseAway):
                await link.beat(refuse_once)
            for _ in range(2):
                with pytest.raises(DatabaseAway):
                    await link.tell(next(tells))
                await link.back()
                await link.beat(hosts)
            await link.tell(next(tells))
        assert [record["event"] for record in logged] == ["database away", "database back"]


async def test_while_the_database_is_away_nothing_but_questions_is_tried(sqlite_url: str) -> None:
    # Nobody watches it, so that it does not come back by itself.
    link = Link(Database(sqlite_url), Events("h1"), last_retry_seconds=1.0)
    await link.prepare()
    with pytest.raises(DatabaseAway):
        await link.call(refuse_once)
    for call in (link.call, link.tell, link.beat):
        with pytest.raises(DatabaseAway, match="once"):
            await call(hosts)
    assert await link.ask(hosts) == []
    link.close()


def refuse_once(_: Database) -> None:
    raise DatabaseAway("once")


async def test_a_server_that_falls_silent_is_away_and_its_calls_end(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with linked(postgres.url()) as link, asyncio.timeout(60):
        for name in ("SLOW_SECONDS", "LOOK_SECONDS", "ANSWER_SECONDS"):
            monkeypatch.setattr(link_module, name, 0.5)
        with frozen(postgres):
            with pytest.raises(DatabaseAway):
                await link.call(hosts)
            assert link.message
        await link.back()


async def test_a_call_is_ready_when_the_database_is_prepared_and_says_what_it_waits_for(
    sqlite_url: str,
) -> None:
    link = Link(Database(sqlite_url), Events("h1"), last_retry_seconds=1.0)
    with pytest.raises(DatabaseAway, match="is being prepared"):
        await link.ready(0)
    waiting = asyncio.create_task(link.ready(60))
    await link.prepare()
    await waiting
    assert link.problem is None
    link.close()
