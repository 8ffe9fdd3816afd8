"""Metrics over TCP, asked as Prometheus asks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.small_host import SmallHost
from tests.waiting import until_async
from tuned.control import exporter
from tuned.control.exporter import Exporter


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def exporting(host: SmallHost, address: str) -> AsyncIterator[Exporter]:
    exports = Exporter(host, address)
    running = asyncio.create_task(exports.run())
    yield exports
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def listens(address: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((address, port)):
        return True
    return False


async def ask(address: str, port: int, path: str = "/metrics", method: str = "GET") -> bytes:
    """The whole answer; waits until there is a listener."""
    await until_async(lambda: listens(address, port), what="a listener")
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


@pytest.mark.parametrize(("address", "written"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_prometheus_reads_the_metrics(host: SmallHost, address: str, written: str) -> None:
    port = free_port(address)
    async with exporting(host, f"{written}:{port}"):
        head, _, body = (await ask(address, port)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Type: text/plain; version=0.0.4" in head
        assert b'tuned_info{host="alpha"' in body


async def test_there_is_nothing_else_to_read_and_nothing_to_change(host: SmallHost) -> None:
    port = free_port()
    async with exporting(host, f"127.0.0.1:{port}"):
        for path in ("/", "/v1/status", "/v1/drain", "/metrics/"):
            assert (await ask("127.0.0.1", port, path, "POST")).startswith(b"HTTP/1.1 404 ")
        assert (await ask("127.0.0.1", port, method="POST")).startswith(b"HTTP/1.1 405 ")
        assert b" 400 " in (await ask("127.0.0.1", port, "no HTTP\r\n")).partition(b"\r\n")[0]
    assert host.host_state == "running"


async def test_a_port_in_use_is_told_and_taken_once_it_is_free(
    host: SmallHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "RETRY_SECONDS", 0.01)
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    async with exporting(host, f"127.0.0.1:{port}") as exports:
        await until_async(lambda: exports.problem, what="the problem")
        assert f"cannot serve metrics on 127.0.0.1:{port}: " in exports.problem
        assert "address already in use" in exports.problem.lower()
        other.close()
        assert b" 200 OK" in await ask("127.0.0.1", port)
        assert exports.problem == ""


@pytest.mark.parametrize("name", ["no-such-host.invalid", "x" * 64])
async def test_an_address_that_cannot_be_found_is_told(host: SmallHost, name: str) -> None:
    async with exporting(host, f"{name}:9464") as exports:
        await until_async(lambda: exports.problem, what="the problem")


async def test_connections_are_bounded(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "MOST_CONNECTIONS", 2)
    port = free_port()
    async with exporting(host, f"127.0.0.1:{port}"):
        await ask("127.0.0.1", port)
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await asyncio.wait_for(opened[-1][0].read(), 20) == b""
        for _, writer in opened:
            writer.close()
        answer = b""
        while b" 200 OK" not in answer:
            with suppress(ConnectionError):
                answer = await ask("127.0.0.1", port)


async def test_without_an_address_nothing_listens(host: SmallHost) -> None:
    await asyncio.wait_for(Exporter(host, "").run(), 20)
