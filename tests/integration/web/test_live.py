"""Parts go to a browser when they are others, and only then."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import ClientResponse

from tests.integration.storage.queries.worlds import World
from tests.integration.web.conftest import Serve


async def next_parts(answer: ClientResponse) -> dict[str, str]:
    async for line in answer.content:
        if line.startswith(b"data: "):
            parts: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            return parts
    raise AssertionError("the stream has ended")


async def test_a_change_sends_the_parts_that_it_changes(world: World, serve: Serve) -> None:
    search = world.search()
    async with (await serve()).get("/", params={"format": "live"}) as answer:
        assert answer.content_type == "text/event-stream"
        assert {"summary", "running", "experiments", "hosts"} <= (await next_parts(answer)).keys()
        search.draw(1)
        changed = await next_parts(answer)
    assert {"running", "experiments", "hosts", "summary"} >= changed.keys()
    assert "/experiments/exp/trials/0" in changed["running"]


async def test_a_page_that_is_not_there_yet_comes_when_it_is(world: World, serve: Serve) -> None:
    async with (await serve()).get("/experiments/exp", params={"format": "live"}) as answer:
        assert "cannot find experiment exp" in (await next_parts(answer))["head"]
        world.search()
        assert "exp" in (await next_parts(answer))["head"]


async def test_a_server_that_ends_waits_for_no_browser(serve: Serve) -> None:
    client = await serve()
    async with client.get("/", params={"format": "live"}) as answer:
        await next_parts(answer)
        await client.server.close()
        assert (await answer.content.read()).strip() == b""
