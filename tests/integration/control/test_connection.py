"""The bound on a user's connections, and how a connection or a stream ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.integration.control.asking import (
    ask,
    error_of,
    exchange,
    next_event,
    open_events,
    read_answer,
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


async def test_requests_on_one_connection_are_answered_in_their_order(address: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(address, limit=2**20)
    writer.write(b"GET /v1/hosts HTTP/1.1\r\nHost: t\r\n\r\n" + ask("GET", "/v1/doctor"))
    bodies = [json.loads((await read_answer(reader))[2]) for _ in range(2)]
    assert [list(body) for body in bodies] == [["hosts"], ["findings"]]
    writer.close()


async def test_half_a_request_at_the_end_is_answered_with_an_error(address: Path) -> None:
    status, _, body = await exchange(address, b"GET /v1/status HTT", half_close=True)
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid")
