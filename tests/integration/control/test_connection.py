"""The bound on a user's connections, and how a connection or a stream ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.integration.control.asking import (
    ask,
    error_of,
    exchange,
    next_event,
    open_events,
    wait_for_service,
)
from tests.small_host import SmallHost, served
from tests.waiting import until_async


async def test_a_user_has_only_so_many_connections(host: SmallHost, path: Path) -> None:
    async with served(host, path, connections_per_user=3):
        held = [await open_events(path) for _ in range(3)]
        assert await error_of(path, ask("GET", "/v1/status")) == (503, "too-many-connections")
        held[0][1].close()
        await wait_for_service(path)
        for _, writer in held:
            writer.close()


async def test_a_peer_that_has_said_all_is_still_answered(address: Path) -> None:
    status, _, _ = await exchange(address, ask("GET", "/v1/status"), half_close=True)
    assert status == 200


async def test_a_stream_whose_reader_has_gone_is_given_up(server: SmallHost, path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(ask("GET", "/v1/experiments/minima/logs?follow=1"))
    await asyncio.wait_for(reader.readuntil(b"epoch 1\n"), 20)
    assert server.open_logs == 1
    writer.close()
    await until_async(lambda: server.open_logs == 0, what="the end of the stream")


async def test_streams_end_when_the_server_stops(host: SmallHost, path: Path) -> None:
    async with served(host, path, stop_seconds=0.2):
        reader, writer = await open_events(path)
        await next_event(reader)
        await host.drain()
    assert (await next_event(reader))["state"] == "draining"
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()
