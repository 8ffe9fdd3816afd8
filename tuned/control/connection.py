"""One connection to the control socket: its peer, its place among the user's connections, its end.

It knows no routes. It answers by itself only if there is no request that a route could answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import structlog
from aiohttp import web

from tuned.control.answers import error_response, error_view, internal_error, json_line, malformed
from tuned.control.peers import ConnectionBound, Peer, peer_of
from tuned.errors import TunedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()


class TooMany(TunedError):
    code = "too-many-connections"
    status = 503


class Connection(web.RequestHandler):
    """One connection; its peer is asked of the kernel once, because it cannot change."""

    __slots__ = ("_bound", "_is_admitted", "answered", "begun", "is_streaming", "peer")

    def __init__(self, server: web.Server, bound: ConnectionBound, request_seconds: float) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=request_seconds,
            lingering_time=1.0,
            tcp_keepalive=False,
            access_log=None,  # type: ignore[arg-type]
        )
        self._bound = bound
        self._is_admitted = False
        #: How many requests have come with a whole head, and how many of these were answered.
        self.begun = 0
        self.answered = 0
        self.is_streaming = False
        self.peer = Peer(pid=0, uid=-1, gids=frozenset())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.peer = peer_of(transport.get_extra_info("socket"))
        self._is_admitted = self._bound.admit(self.peer.uid)
        if self._is_admitted:
            super().connection_made(transport)
            return
        # No look-up of the name: it could keep the event loop waiting, and there are many of these at once.
        found = f"uid {self.peer.uid} has {self._bound.most_per_user} others, as many as allowed"
        _close_with(transport, TooMany(f"cannot serve this connection: {found}"))

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._is_admitted:
            self._bound.leave(self.peer.uid)
            super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The peer sends no more. A request that has come is still answered, then the connection ends."""
        if not self.is_streaming and self.begun > self.answered:
            self.close()
            return True
        if not self.is_streaming and self.transport is not None:
            _close_with(self.transport, malformed("the end of the connection in a request"))
        return None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers bytes that are not HTTP; errors of requests do not come here."""
        if request.writer.output_size > 0:
            raise ConnectionError("cannot answer twice")
        if status == HTTPStatus.BAD_REQUEST:
            first_line = str(message).strip().partition("\n")[0].rstrip(":")
            return error_response(malformed(f"bytes that are not HTTP ({first_line})"))
        _log.error("connection failed", uid=self.peer.uid, exc_info=exc)
        return error_response(internal_error())


def connection_of(request: web.BaseRequest) -> Connection:
    connection = request.protocol
    assert isinstance(connection, Connection)
    return connection


async def stream(
    request: web.BaseRequest, content_type: str, chunks: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Sends the chunks as they come. After an error on the way, the answer has no last chunk."""
    connection = connection_of(request)
    connection.is_streaming = True
    response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-store"})
    response.force_close()
    async with contextlib.aclosing(chunks):
        await response.prepare(request)
        try:
            async for chunk in chunks:
                await response.write(chunk)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 (the edge: a bug in one answer is no reason to stop the trials)
            _log.exception("stream failed", path=request.path, uid=connection.peer.uid)
            connection.force_close()
    return response


def _close_with(transport: asyncio.BaseTransport, error: TunedError) -> None:
    """Answers without a request that aiohttp could answer, and closes."""
    body = json_line(error_view(error))
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer = cast("asyncio.WriteTransport", transport)
    writer.write(head.encode() + body)
    writer.close()
