"""Two layers around each handler: errors become answers, and only a trusted peer comes to a trusted route.

They know neither the host nor the single routes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

import structlog
from aiohttp import web

from tuned.control.answers import error_response, internal_error
from tuned.control.connection import connection_of
from tuned.control.peers import Access, Owner, Peer
from tuned.disk.users import described, group_name, user_name
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
        user = await asyncio.to_thread(user_name, peer.uid)
        _log.warning(
            "request refused", method=request.method, path=request.path, user=user, uid=peer.uid, pid=peer.pid
        )
        raise await asyncio.to_thread(_forbidden, peer, owner)
    return await handler(request)


def _forbidden(peer: Peer, owner: Owner) -> Forbidden:
    group = group_name(owner.gid)
    refusal = f"found {described(peer.uid)}, expected root, user {user_name(owner.uid)} or group {group}"
    # Root's own group is no one to join.
    remedy = (
        f"; to join it: usermod -a -G {group} {user_name(peer.uid)}, then log in again" if owner.gid else ""
    )
    return Forbidden(f"cannot do this: {refusal}{remedy}")
