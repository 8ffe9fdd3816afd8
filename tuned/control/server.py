"""HTTP over the control socket: connections with a known peer, bounded, and each error as JSON.

It knows no routes and nothing of the daemon. Whatever a peer sends is answered or closed; it never ends the
daemon, fills its memory or keeps a descriptor for longer than allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import web

from tuned.control.listening import listening
from tuned.control.peers import ConnectionBound, Peer, peer_of
from tuned.errors import InvalidInput, Problem, TunedError
from tuned.protocol import ErrorBody, ErrorView, ProblemView

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    Answer = Callable[[web.BaseRequest, Peer], Awaitable[web.StreamResponse]]

_log: FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one peer can take of the daemon."""

    connections_per_user: int = 64
    #: A connection on which no whole request arrives for so long is closed.
    request_seconds: float = 15.0
    body_bytes: int = 64 * 1024
    #: What is being answered when the server stops has so long to end.
    stop_seconds: float = 1.0


class TooLarge(TunedError):
    code = "too-large"
    status = 413


class TooSlow(TunedError):
    code = "timeout"
    status = 408


class TooMany(TunedError):
    code = "too-many-connections"
    status = 503


class Connection(web.RequestHandler):
    """One connection; its peer is asked of the kernel once, because it cannot change."""

    __slots__ = ("_bound", "_is_admitted", "answered", "is_streaming", "peer")

    def __init__(self, server: web.Server, bound: ConnectionBound, limits: Limits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.request_seconds,
            lingering_time=1.0,
            tcp_keepalive=False,
            access_log=None,  # type: ignore[arg-type]
        )
        self._bound = bound
        self._is_admitted = False
        #: How many requests were answered, or are streams.
        self.answered = 0
        self.is_streaming = False
        self.peer = Peer(pid=0, uid=-1, gids=frozenset())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.peer = peer_of(transport.get_extra_info("socket"))
        self._is_admitted = self._bound.admit(self.peer.uid)
        if self._is_admitted:
            super().connection_made(transport)
            return
        most = self._bound.most_per_user
        found = f"uid {self.peer.uid} has {most} others, as many as allowed"
        refusal = TooMany(f"cannot serve this connection: {found}")
        _say_goodbye(transport, refusal)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._is_admitted:
            self._bound.leave(self.peer.uid)
            super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The peer has said all. What it asked for in full is still answered, then the connection ends."""
        if not self.is_streaming and self._request_count > self.answered:
            self.close()
            return True
        if not self.is_streaming and self.transport is not None:
            _say_goodbye(self.transport, _malformed("the end of the connection in a request"))
        return None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what is not HTTP; errors of requests do not come here."""
        if request.writer.output_size > 0:
            raise ConnectionError("cannot answer twice")
        if status == HTTPStatus.BAD_REQUEST:
            first_line = str(message).strip().partition("\n")[0].rstrip(":")
            return error_response(_malformed(f"bytes that are not HTTP ({first_line})"))
        _log.error("connection failed", uid=self.peer.uid, exc_info=exc)
        return error_response(TunedError("cannot answer: an error in the daemon, see its log"))


@contextlib.asynccontextmanager
async def serving(answer: Answer, path: Path, *, mode: int, limits: Limits) -> AsyncIterator[None]:
    """Answers on the socket at ``path``. Raises Conflict or InvalidInput if it cannot listen there."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await _answered(answer, request, limits)

    def read(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        most = limits.body_bytes
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=most)

    bound = ConnectionBound(limits.connections_per_user)
    server = web.Server(handle, request_factory=read, handler_cancellation=True)
    with listening(path, mode) as listener:
        loop = asyncio.get_running_loop()
        acceptor = await loop.create_unix_server(lambda: Connection(server, bound, limits), sock=listener)
        try:
            yield
        finally:
            acceptor.close()
            server.pre_shutdown()
            await server.shutdown(limits.stop_seconds)


async def _answered(answer: Answer, request: web.BaseRequest, limits: Limits) -> web.StreamResponse:
    connection = _connection(request)
    try:
        await _read_body(request, limits)
        return await answer(request, connection.peer)
    except TunedError as error:
        return error_response(error)
    except ConnectionError:
        raise
    except Exception:  # noqa: BLE001 (the edge: a bug in one answer is no reason to stop the trials)
        _log.exception("request failed", path=request.path, uid=connection.peer.uid)
        return error_response(TunedError("cannot answer: an error in the daemon, see its log"))
    finally:
        connection.answered += 1


async def _read_body(request: web.BaseRequest, limits: Limits) -> None:
    """As far as it may go, whether or not the route has a use for it; the request keeps it."""
    try:
        async with asyncio.timeout(limits.request_seconds):
            await request.read()
    except TimeoutError:
        raise TooSlow(f"cannot read the request: no whole body in {limits.request_seconds:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(
            f"cannot read the request: found a body of over {limits.body_bytes} bytes, expected less"
        ) from None
    except (web.RequestPayloadError, ValueError, RuntimeError) as error:
        raise _malformed(f"a body that cannot be decoded ({error})") from None


async def stream(
    request: web.BaseRequest, content_type: str, chunks: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Sends the chunks as they come; an error on the way is seen by the peer as an answer without an end."""
    connection = _connection(request)
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
        except Exception:  # noqa: BLE001 (as in _answered)
            _log.exception("stream failed", path=request.path, uid=connection.peer.uid)
            connection.force_close()
    return response


def json_response(view: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    body = json_line(view)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def json_line(view: object) -> bytes:
    try:
        text = json.dumps(view, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(view), allow_nan=False)
    return text.encode() + b"\n"


def error_response(error: TunedError, *, headers: dict[str, str] | None = None) -> web.Response:
    response = json_response(_error_view(error), status=error.status, headers=headers)
    if error.status in {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    }:
        # The rest of the same mistake may follow on the connection.
        response.force_close()
    return response


def _error_view(error: TunedError) -> ErrorView:
    body = ErrorBody(code=error.code, message=str(error))
    if isinstance(error, InvalidInput):
        body["problems"] = [
            ProblemView(file=p.file, key=p.key, found=p.found, expected=p.expected) for p in error.problems
        ]
    return ErrorView(error=body)


def _finite(value: object) -> object:
    """JSON has no infinity: such a number goes as the string that float() and Number() understand."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def _malformed(found: str) -> InvalidInput:
    return InvalidInput(Problem(file="request", key="", found=found, expected="an HTTP/1.1 request"))


def _say_goodbye(transport: asyncio.BaseTransport, error: TunedError) -> None:
    """An answer where there is no request that aiohttp could answer."""
    body = json_line(_error_view(error))
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer = cast("asyncio.WriteTransport", transport)
    writer.write(head.encode() + body)
    writer.close()


def _connection(request: web.BaseRequest) -> Connection:
    connection = request.protocol
    assert isinstance(connection, Connection)
    return connection
