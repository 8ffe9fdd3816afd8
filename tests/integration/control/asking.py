"""Raw bytes to a control socket, and its answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any


def ask(method: str, target: str) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: tuned\r\nConnection: close\r\n\r\n".encode()


async def exchange(path: Path, sent: bytes, *, half_close: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Sends bytes on a connection of its own and returns status, headers and body of the first answer."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**20)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
            if half_close:
                writer.write_eof()
        return await read_answer(reader)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        return int(first.split()[1]), headers, await reader.readexactly(length)


async def get(path: Path, target: str, method: str = "GET") -> tuple[int, Any]:
    status, _, body = await exchange(path, ask(method, target))
    return status, json.loads(body)


async def error_of(path: Path, sent: bytes) -> tuple[int, str]:
    status, headers, body = await exchange(path, sent)
    assert headers["content-type"].startswith("application/json")
    return status, json.loads(body)["error"]["code"]


async def open_events(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path, limit=2**20)
    writer.write(b"GET /v1/events HTTP/1.0\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def next_event(reader: asyncio.StreamReader) -> Any:
    return json.loads(await asyncio.wait_for(reader.readline(), 20))


async def wait_for_service(path: Path) -> None:
    async with asyncio.timeout(20):
        while (await exchange(path, ask("GET", "/v1/status")))[0] != 200:
            pass
