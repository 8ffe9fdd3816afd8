"""A socket at which something answers that is no tuned daemon, or an odd one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

JSON = b"application/json"


def answer(body: bytes, *, status: int = 200, kind: bytes = JSON) -> bytes:
    head = b"HTTP/1.1 %d Odd\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (status, kind, len(body))
    return head + body


@contextlib.asynccontextmanager
async def answering(
    path: Path, give: Callable[[bytes], Awaitable[bytes]], *, stays: bool = False
) -> AsyncIterator[None]:
    """Gives each request these bytes, and closes the connection unless it stays."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            writer.write(await give(request))
            await writer.drain()
            if stays:
                await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield


async def always(body: bytes, _request: bytes) -> bytes:
    return body


async def asked_of(path: Path, request: bytes) -> bytes:
    """The bytes of a real daemon's answer; of a stream, the first piece."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    found = await (reader.readuntil(b"\n\r\n") if b"/v1/events " in request else reader.read())
    writer.close()
    return found
