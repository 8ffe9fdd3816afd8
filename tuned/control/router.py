"""router."""

from __future__ import annotations

import grp
import pwd
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import structlog
from aiohttp import web

from tuned.control import server
from tuned.control.host import Host
from tuned.control.peers import Owner, Peer
from tuned.domain.names import NAME
from tuned.errors import Forbidden, InvalidInput, NotFound, Problem, TunedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()


class Access(StrEnum):
    """Who may ask."""

    ANYONE = "who may connect"
    TRUSTED = "root, the daemon's user and its group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to one route."""

    host: Host
    request: web.BaseRequest
    is_trusted: bool
    #: From the path; empty where the route has none.
    name: str = ""
    trial: int = 0

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
    who: Access
    handler: Callable[[Call], Awaitable[web.StreamResponse]]
    #: Which keys the query may have.
    options: frozenset[str] = frozenset()
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        name = f"(?P<name>{NAME.pattern})"
        path = self.path.replace("{name}", name).replace("{number}", r"(?P<number>[0-9]{1,9})")
        object.__setattr__(self, "pattern", re.compile(path))


class MethodNotAllowed(TunedError):
    code: ClassVar[str] = "method-not-allowed"
    status: ClassVar[int] = 405


async def dispatch(
    table: Sequence[Route], host: Host, owner: Owner, request: web.BaseRequest, peer: Peer
) -> web.StreamResponse:
    matches = ((route, route.pattern.fullmatch(request.path)) for route in table)
    routes = {route.method: (route, found) for route, found in matches if found}
    if not routes:
        raise NotFound(f"cannot answer {request.path}: there is nothing here; docs/protocol.md has all paths")
    if request.method not in routes:
        allowed = ", ".join(routes)
        error = MethodNotAllowed(f"cannot {request.method} {request.path}: expected {allowed}")
        return server.error_response(error, headers={"Allow": allowed})
    route, found = routes[request.method]
    is_trusted = owner.trusts(peer)
    if route.who is Access.TRUSTED and not is_trusted:
        _log.warning("request refused", method=route.method, path=request.path, uid=peer.uid, pid=peer.pid)
        raise _forbidden(route, request.path, peer, owner)
    for key in request.query:
        if key not in route.options:
            known = ", ".join(sorted(route.options)) or "no options here"
            raise bad_option(key, "an unknown option", known)
    if route.method == "POST":
        _log.info("request accepted", path=request.path, uid=peer.uid, pid=peer.pid)
    parts = found.groupdict()
    call = Call(
        host=host, request=request, is_trusted=is_trusted,
        name=parts.get("name", ""), trial=int(parts.get("number", 0)),
    )  # fmt: skip
    return await route.handler(call)


def _forbidden(route: Route, path: str, peer: Peer, owner: Owner) -> Forbidden:
    try:
        user = pwd.getpwuid(owner.uid).pw_name
    except KeyError:
        user = str(owner.uid)
    try:
        group = grp.getgrgid(owner.gid).gr_name
    except KeyError:
        group = str(owner.gid)
    found, expected = f"uid {peer.uid}", f"root, user {user} or group {group}"
    return Forbidden(f"cannot {route.method} {path}: found {found}, expected {expected}")


def bad_option(key: str, found: str, expected: str) -> InvalidInput:
    return InvalidInput(Problem(file="request", key=key, found=found, expected=expected))
