"""From a table of routes to the handler of a request: aiohttp's own router, with each route's layers.

A handler returns a value of its answer's type. This module alone makes a response of it, and leaves out
for an untrusted peer the fields that are not for it, so that no handler can forget to.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_type_hints

import structlog
from aiohttp import web

from tuned.control import redaction
from tuned.control.answers import EventLines, Output, Text, json_line, json_response
from tuned.control.connection import connection_of, stream
from tuned.control.middlewares import IS_TRUSTED, trust
from tuned.control.peers import Access, Owner
from tuned.control.server import read_large_body
from tuned.disk.users import user_name
from tuned.domain.names import NAME
from tuned.errors import DatabaseAway, InvalidInput, Problem
from tuned.protocol.events import Event
from tuned.protocol.limits import MOST_WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.control.host import Host
    from tuned.control.middlewares import Handler

_log: FilteringBoundLogger = structlog.get_logger()


#: The names in a path, with what each may be.
_NAMES = {"{name}": f"{{name:{NAME.pattern}}}", "{number}": "{number:[0-9]{1,9}}"}


#: A large body comes from a program on this host, which has it whole.
_LARGE_BODY_SECONDS = 60.0


#: In the request: the names in its path, with their values.
_PARTS = web.RequestKey("_PARTS", Mapping[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to one route."""

    host: Host
    request: web.Request
    #: From the path; empty if the route has none.
    name: str = ""
    trial: int = 0
    #: Of a route that takes a large one.
    body: bytes = b""

    @property
    def user(self) -> str:
        """The peer's name on this host, or its uid if it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"

    @property
    def uid(self) -> int:
        return connection_of(self.request).peer.uid

    def option(self, key: str) -> str | None:
        return self.request.query.get(key)

    def number(self, key: str, lowest: int, highest: int) -> int | None:
        text = self.option(key)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,18}", text) or not lowest <= int(text) <= highest:
            raise bad_option(key, text, f"a number from {lowest} to {highest}")
        return int(text)


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    access: Access
    #: Returns a view, EventLines, Text or Output; its return type says which.
    handler: Callable[[Call], Awaitable[object]]
    #: Which keys the query may have.
    options: frozenset[str] = frozenset()
    #: Whether a change needs the database.
    asks_database: bool = True
    #: How large a body may be beyond the bound of all requests.
    body_bytes: int = 0


def dispatching(table: Sequence[Route], host: Host, owner: Owner) -> Handler:
    """Answers a request by the table's route for it. Raises HTTPNotFound, HTTPMethodNotAllowed."""
    dispatcher = web.UrlDispatcher()
    for route in table:
        path = functools.reduce(lambda path, name: path.replace(name, _NAMES[name]), _NAMES, route.path)
        dispatcher.add_route(route.method, path, _handler(route, host, owner))

    async def dispatch(request: web.Request) -> web.StreamResponse:
        match = await dispatcher.resolve(request)
        request[_PARTS] = match
        return await match.handler(request)

    return dispatch


def reads_later(table: Sequence[Route]) -> Callable[[str], bool]:
    """Says of which path a route reads the body, after it has found the peer trusted."""
    ends = {route.path.rpartition("/")[2] for route in table if route.body_bytes}
    return lambda path: path.rpartition("/")[2] in ends


def _handler(route: Route, host: Host, owner: Owner) -> Handler:
    redact = _redaction(route)

    async def answer(request: web.Request) -> web.StreamResponse:
        _check_options(route, request)
        if route.method == "POST":
            peer = connection_of(request).peer
            user = await asyncio.to_thread(user_name, peer.uid)
            _log.info("request accepted", path=request.path, user=user, uid=peer.uid, pid=peer.pid)
        parts = request[_PARTS]
        name, number = parts.get("name", ""), int(parts.get("number", 0))
        body = await _large_body(route, request)
        found = await _found(route, Call(host=host, request=request, name=name, trial=number, body=body))
        return await _respond(request, found, redaction.unchanged if request[IS_TRUSTED] else redact)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await trust(request, answer, access=route.access, owner=owner)

    return handle


async def _large_body(route: Route, request: web.Request) -> bytes:
    if not route.body_bytes:
        return b""
    return await read_large_body(request, route.body_bytes, _LARGE_BODY_SECONDS)


async def _found(route: Route, call: Call) -> object:
    """The handler's answer. If the peer prefers to wait for the database, it gets it when that is there.

    A change waits before it begins, because one that failed may have been made in part.
    """
    seconds = _wait_seconds(call.request)
    if route.method == "GET":
        try:
            return await route.handler(call)
        except DatabaseAway:
            if not seconds:
                raise
    if route.asks_database:
        await call.host.reach_database(seconds)
    return await route.handler(call)


def _wait_seconds(request: web.Request) -> float:
    """``Prefer: wait=10``, as RFC 7240 has it; 0 if the peer did not say it."""
    wait = re.search(r"(?:^|[,;\s])wait=([0-9]{1,4})(?![0-9])", request.headers.get("Prefer", ""))
    return min(float(wait[1]), MOST_WAIT_SECONDS) if wait else 0.0


def _redaction(route: Route) -> redaction.Redaction:
    answer_type = get_type_hints(route.handler)["return"]
    if answer_type is Text:
        return redaction.unchanged
    if answer_type is Output:
        assert route.access is Access.TRUSTED, f"{route.path} shows output to anyone"
        return redaction.unchanged
    return redaction.redaction_of(Event if answer_type is EventLines else answer_type)


async def _respond(request: web.Request, found: object, redact: redaction.Redaction) -> web.StreamResponse:
    match found:
        case Text(body, content_type):
            return web.Response(body=body, headers={"Content-Type": content_type})
        case Output(chunks):
            return await stream(request, "text/plain; charset=utf-8", chunks)
        case EventLines(events):
            return await stream(request, "application/x-ndjson", _lines(events, redact))
        case _:
            return json_response(redact(found))


async def _lines(
    events: AsyncGenerator[Event, None], redact: redaction.Redaction
) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(events):
        async for event in events:
            yield json_line(redact(event))


def _check_options(route: Route, request: web.Request) -> None:
    for key in request.query:
        if key not in route.options:
            raise bad_option(key, "an unknown option", ", ".join(sorted(route.options)) or "no options here")


def bad_option(key: str, found: str, expected: str) -> InvalidInput:
    return InvalidInput(Problem(file="request", key=key, found=found, expected=expected))
