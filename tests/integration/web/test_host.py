"""A daemon that answers, one that refuses, and none at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tuned.errors import TunedError, Unreachable
from tuned.web.host import Host


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """The second of two sockets has a server, which refuses changes."""

    async def status(request: web.Request) -> web.Response:
        return web.json_response({"host": "h1", "asked": request.query_string})

    async def logs(_: web.Request) -> web.Response:
        return web.Response(body=b"a \xff\n")

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": {"code": "conflict", "message": "it has ended"}}, status=409)

    app = web.Application()
    app.add_routes(
        [
            web.get("/v1/status", status),
            web.get("/v1/experiments/exp/logs", logs),
            web.post("/v1/experiments/exp/pause", refuse),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "sock")).start()
    yield Host(sockets=[tmp_path / "none", tmp_path / "sock"])
    await runner.cleanup()


async def test_the_first_daemon_that_answers_is_asked(host: Host) -> None:
    status = await host.status()
    assert status is not None
    assert status["host"] == "h1"


async def test_output_is_text_whatever_its_bytes_are(host: Host) -> None:
    assert await host.output("exp", 1) == "a �\n"
    assert await host.output("other", 1) is None


async def test_a_refusal_is_told_in_the_daemons_words(host: Host) -> None:
    with pytest.raises(TunedError, match="it has ended"):
        await host.change("exp", "pause")


async def test_without_a_daemon_there_is_no_status_and_no_change(tmp_path: Path) -> None:
    nobody = Host(sockets=[tmp_path / "none"])
    assert await nobody.status() is None
    with pytest.raises(Unreachable, match="no daemon of this host answers"):
        await nobody.change("exp", "pause")
