"""HTTP over the control socket: bounded in connections, bodies and time.

It knows no routes and nothing of the daemon. Anything that a peer sends is answered or closed; it never
ends the daemon, fills its memory or keeps a descriptor for longer than allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tuned.control.answers import malformed
from tuned.control.connection import Connection, connection_of
from tuned.control.listening import listening
from tuned.control.middlewares import errors
from tuned.control.peers import ConnectionBound
from tuned.errors import TunedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tuned.control.middlewares import Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of the daemon one peer can take."""

    connections_per_user: int = 64
    #: A connection on which no whole request arrives for so long is closed.
    request_seconds: float = 15.0
    body_bytes: int = 64 * 1024
    #: When the server stops, a request in progress has so long to end.
    stop_seconds: float = 1.0


class TooLarge(TunedError):
    code = "too-large"
    status = 413


class TooSlow(TunedError):
    code = "timeout"
    status = 408


@contextlib.asynccontextmanager
async def serving(
    answer: Handler, path: Path, *, mode: int, limits: Limits, reads_later: Callable[[str], bool]
) -> AsyncIterator[None]:
    """Answers on the socket at ``path``. Raises Conflict or InvalidInput if it cannot listen there.

    ``reads_later`` says of which path the handler itself reads the body.
    """

    async def answer_whole(request: web.Request) -> web.StreamResponse:
        if not reads_later(request.path):
            await _read_body(request, limits)
        return await answer(request)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.Request)
        try:
            return await errors(request, answer_whole)
        finally:
            connection_of(request).answered += 1

    def begin(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.Request:
        protocol.begun += 1
        loop = asyncio.get_running_loop()
        most = limits.body_bytes
        return web.Request(message, payload, protocol, writer, task, loop, client_max_size=most)

    bound = ConnectionBound(limits.connections_per_user)
    server = web.Server(handle, request_factory=begin, handler_cancellation=True)
    with listening(path, mode) as listener:
        loop = asyncio.get_running_loop()
        acceptor = await loop.create_unix_server(
            lambda: Connection(server, bound, limits.request_seconds), sock=listener
        )
        try:
            yield
        finally:
            acceptor.close()
            server.pre_shutdown()
            await server.shutdown(limits.stop_seconds)


async def _read_body(request: web.Request, limits: Limits) -> None:
    """Up to the limit, whether or not the route has a use for it; the request keeps it."""
    with _reading(limits.request_seconds):
        try:
            async with asyncio.timeout(limits.request_seconds):
                await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise _too_large(limits.body_bytes) from None


async def read_large_body(request: web.Request, most_bytes: int, seconds: float) -> bytes:
    """A body that is larger than those of all other requests. Only trusted peers may send one."""
    body = bytearray()
    with _reading(seconds):
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > most_bytes:
                    raise _too_large(most_bytes)
    return bytes(body)


def _too_large(most_bytes: int) -> TooLarge:
    return TooLarge(f"cannot read the request: found a body of over {most_bytes} bytes, expected less")


@contextlib.contextmanager
def _reading(seconds: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise TooSlow(f"cannot read the request: no whole body in {seconds:g} s") from None
    except (web.RequestPayloadError, ValueError, RuntimeError) as error:
        raise malformed(f"a body that cannot be decoded ({error})") from None
