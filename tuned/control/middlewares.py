"""Two layers around each handler: errors become answers, and only a trusted peer comes to a trusted route.

They know neither the host nor the single routes.
"""

from __future__ import annotations

import grp
import pwd
from typing import TYPE_CHECKING, ClassVar

import structlog
from aiohttp import web

from tuned.control.answers import error_response, internal_error
from tuned.control.connection import connection_of
from tuned.control.peers import Access, Owner, Peer
from tuned.errors import Forbidden, NotFound, TunedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log: FilteringBoundLogger = structlog.get_logger()


#: In the request: whether its peer is trusted.
IS_TRUSTED = web.RequestKey("IS_TRUSTED", bool)


class MethodNotAllowed(TunedError):
    code: ClassVar[str] = "method-not-allowed"
    status: ClassVar[int] = 405


async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Each error as JSON with the fitting status; an unknown one as 500, with its traceback in the log."""
    try:
        return await handler(request)
    except TunedError as error:
        return error_response(error)
    except web.HTTPNotFound:
        found = (
            f"cannot answer {request.path}: there is nothing here; docs/reference/protocol.md has all paths"
        )
        return error_response(NotFound(found))
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        refusal = MethodNotAllowed(f"cannot {request.method} {request.path}: expected {allowed}")
        return error_response(refusal, headers={"Allow": allowed})
    except ConnectionError:
        raise
    except Exception:  # noqa: BLE001 (the edge: a bug in one answer is no reason to stop the trials)
        _log.exception("request failed", path=request.path, uid=connection_of(request).peer.uid)
        return error_response(internal_error())


async def trust(
    request: web.Request, handler: Handler, *, access: Access, owner: Owner
) -> web.StreamResponse:
    """The peer's credentials against the route's access, for each request anew."""
    peer = connection_of(request).peer
    request[IS_TRUSTED] = owner.trusts(peer)
    if access is Access.TRUSTED and not request[IS_TRUSTED]:
        _log.warning("request refused", method=request.method, path=request.path, uid=peer.uid, pid=peer.pid)
        raise _forbidden(request, peer, owner)
    return await handler(request)


def _forbidden(request: web.Request, peer: Peer, owner: Owner) -> Forbidden:
    try:
        user = pwd.getpwuid(owner.uid).pw_name
    except KeyError:
        user = str(owner.uid)
    try:
        group = grp.getgrgid(owner.gid).gr_name
    except KeyError:
        group = str(owner.gid)
    found, expected = f"uid {peer.uid}", f"root, user {user} or group {group}"
    return Forbidden(f"cannot {request.method} {request.path}: found {found}, expected {expected}")
