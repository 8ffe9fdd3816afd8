"""A world of hosts and experiments, and the server of its pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.factories import opened
from tests.integration.storage.queries.worlds import World
from tuned.web.application import application
from tuned.web.guard import Guard
from tuned.web.host import Host
from tuned.web.mount import Mount
from tuned.web.pages import Pages
from tuned.web.plots import Painter
from tuned.web.reader import Reader

Serve = Callable[..., Awaitable[TestClient]]  # type: ignore[type-arg]

NOBODY = Host(sockets=[Path("/nonexistent")])


@pytest.fixture
def world(sqlite_url: str) -> Iterator[World]:
    with opened(sqlite_url) as database:
        yield World(database)


@pytest.fixture
async def reader(world: World) -> AsyncIterator[Reader]:
    made = Reader(world.database, NOBODY)
    yield made
    made.close()


@pytest.fixture
async def painter(world: World) -> AsyncIterator[Painter]:
    made = Painter(world.database)
    yield made
    made.close()


@pytest.fixture
async def serve(world: World, reader: Reader, painter: Painter) -> AsyncIterator[Serve]:
    """Serves the world, with these options."""
    begun: list[TestClient] = []  # type: ignore[type-arg]
    mount = Mount(world.database)

    async def client(*, token: str | None = None, allows_changes: bool = False) -> TestClient:  # type: ignore[type-arg]
        pages = Pages(reader=reader, painter=painter, host=NOBODY, allows_changes=allows_changes)
        guard = Guard(token=token, allows_changes=allows_changes)
        begun.append(TestClient(TestServer(application(guard=guard, pages=pages, host=NOBODY, mount=mount))))
        await begun[-1].start_server()
        return begun[-1]

    yield client
    for each in begun:
        await each.close()
    mount.close()
