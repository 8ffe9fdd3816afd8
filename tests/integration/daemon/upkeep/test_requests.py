"""A host obeys others once and replies; one that asks learns within three beats that nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import func, select, text
from structlog.testing import capture_logs

from tests.factories import linked
from tests.waiting import until_async
from tuned.daemon.fleet import Fleet
from tuned.daemon.upkeep.requests import Requests, ask_host
from tuned.domain.states import HostCommand, HostState
from tuned.errors import Conflict
from tuned.storage.hosts import HostInfo
from tuned.storage.link import Link
from tuned.storage.tables.schema import t_request

INTERVAL = 0.3


class Daemon:
    """Takes note of its orders."""

    def __init__(self, link: Link) -> None:
        self.obeyed: list[str] = []
        self.incarnation = ""
        self.restarts = asyncio.Event()
        self.requests = Requests(
            link, drain=self.drain, abort=self.abort, check=self.check, restart=self.restart
        )

    def drain(self) -> HostState:
        self.obeyed.append("drain")
        return HostState.DRAINING

    def abort(self) -> HostState:
        self.obeyed.append("abort")
        return HostState.ABORTING

    async def check(self) -> None:
        await self.restarts.wait()
        raise Conflict("cannot restart: tuned.toml: slots: found -1, expected 1 or more")

    def restart(self) -> HostState:
        raise AssertionError


@asynccontextmanager
async def beta(link: Link, *, beats: bool = True) -> AsyncIterator[Daemon]:
    """A host of this name that beats."""
    daemon = Daemon(link)
    fleet = Fleet(
        link, host="beta", installation_id="b", interval_seconds=INTERVAL, expire_seconds=600,
        describe=HostInfo, on_asked=daemon.requests.carry_out,
    )  # fmt: skip
    daemon.incarnation = (await fleet.join()).incarnation
    task = asyncio.create_task(fleet.run(asyncio.Event().wait)) if beats else None  # type: ignore[arg-type]
    try:
        yield daemon
    finally:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def left(link: Link) -> int:
    """How many requests are in the database."""
    with link.database.reading() as connection:
        count: int = connection.execute(select(func.count()).select_from(t_request)).scalar_one()
    return count


async def told(link: Link, command: HostCommand, interval: float = 20) -> tuple[str, float]:
    reply = await ask_host(link, "beta", command, user="ann", asked_on="alpha", interval_seconds=interval)
    return reply["state"], reply["seen_seconds"]


async def test_a_host_obeys_another_once_and_logs_who_asked(database_url: str) -> None:
    async with linked(database_url) as link, beta(link) as daemon:
        with capture_logs() as logs:
            state, seen = await told(link, HostCommand.DRAIN)
        assert (state, 0 < seen < 20) == ("draining", True)
        assert (await told(link, HostCommand.ABORT))[0] == "aborting"
        assert daemon.obeyed == ["drain", "abort"]
        said = [(log["event"], log["command"], log["user"]) for log in logs if "command" in log]
        assert said == [
            ("another host is asked", "drain", "ann"),
            ("request of another host", "drain", "ann"),
        ]
        assert left(link) == 0


async def test_a_refusal_comes_back_and_no_other_request_waits_for_it(database_url: str) -> None:
    async with linked(database_url) as link, beta(link, beats=False) as daemon:
        restarting = asyncio.create_task(told(link, HostCommand.RESTART))
        draining = asyncio.create_task(told(link, HostCommand.DRAIN))
        await until_async(lambda: left(link) == 2, what="both requests")
        # One beat finds both.
        obeying = asyncio.create_task(daemon.requests.carry_out(daemon.incarnation))
        assert (await draining)[0] == "draining"
        assert not restarting.done()
        daemon.restarts.set()
        with pytest.raises(Conflict, match=r"beta refuses: cannot restart: tuned\.toml: slots: found -1"):
            await restarting
        await obeying


async def test_a_host_that_does_not_answer_is_told_so_and_does_not_obey_later(database_url: str) -> None:
    async with linked(database_url) as link, beta(link, beats=False) as daemon:
        with pytest.raises(Conflict, match=r"it has not answered within 3 beats \(0.3 s\)"):
            await told(link, HostCommand.ABORT, interval=0.1)
        assert left(link) == 0
        assert daemon.obeyed == []


async def test_a_command_of_a_newer_version_is_refused(sqlite_url: str) -> None:
    async with linked(sqlite_url) as link, beta(link):
        dance = (
            "CREATE TRIGGER dance AFTER INSERT ON t_request BEGIN UPDATE t_request SET command = 'dance'; END"
        )
        with link.database.transaction() as connection:
            connection.execute(text(dance))
        with pytest.raises(Conflict, match="cannot dance: this host's version does not know it"):
            await told(link, HostCommand.DRAIN)
