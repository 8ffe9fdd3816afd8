"""Which requests are answered at all: of this host's browsers, or of those who have the token.

A browser asks for whatever the pages that it shows make it ask for. So a request must name this host
(against a name of another site that leads here), a change must come from our own page, and beyond loopback
each request needs the token. It never knows what a page shows.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware
    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()

COOKIE = "tuned-token"

LOGIN = "/login"

READING = frozenset({"GET", "HEAD", "OPTIONS"})

#: The port is free: a forwarded one may have any number.
_AUTHORITY = re.compile(r"(?:\[(?P<literal>[^\]]*)\]|(?P<name>[^:]*))(?::[0-9]{1,5})?")

#: No script and no style but ours; nothing is loaded from elsewhere, and no page shows ours in a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Decides by a request's head alone."""

    #: None: everybody who reaches the port of loopback may ask.
    token: str | None
    allows_changes: bool

    def middleware(self) -> Middleware:
        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = self._early(request) or await _answered(request, handler)
            if not response.prepared:
                put_headers(response)
            return response

        return answer

    def is_token(self, given: str) -> bool:
        return self.token is not None and hmac.compare_digest(_digest(given), _digest(self.token))

    def _early(self, request: web.Request) -> web.Response | None:
        """The answer to a request that goes no further; None for one that does."""
        if refusal := self.refusal(request):
            return web.Response(status=403, text=f"tuned-dashboard: {refusal}\n")
        if self.token is None or self._has_token(request) or _is_open(request):
            return None
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return web.Response(status=303, headers={"Location": LOGIN})
        return web.Response(status=401, text="tuned-dashboard: found no token, expected one\n")

    def refusal(self, request: web.Request) -> str | None:
        """Why a request is refused; None if it is not."""
        host = request.headers.get("Host", "")
        # A page of another site that reaches us by a name of its own has no cookie of ours.
        if self.token is None and not is_loopback(host):
            return (
                "found another Host, expected localhost or a loopback address; forward the port to this host"
            )
        if request.method in READING:
            return None
        if foreign := _foreign(request, host, is_behind_proxy=self.token is not None):
            return foreign
        if not self.allows_changes and request.path != LOGIN:
            return "found a change, expected to read only; start it with --allow-changes"
        return None

    def _has_token(self, request: web.Request) -> bool:
        scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
        given = credential if scheme.lower() == "bearer" else ""
        return self.is_token(given) or hmac.compare_digest(
            request.cookies.get(COOKIE, "").encode(), self.cookie().encode()
        )

    def cookie(self) -> str:
        """Stands for the token in a browser, and does not tell it."""
        return _digest(f"cookie:{self.token}").hex()


def put_headers(response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def is_loopback(authority: str) -> bool:
    """Whether a Host header names this host by itself."""
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return False
    literal, name = parts["literal"], parts["name"]
    try:
        if literal is not None:
            return ipaddress.IPv6Address(literal).is_loopback
        return name.lower() == "localhost" or ipaddress.IPv4Address(name).is_loopback
    except ValueError:
        return False


def _foreign(request: web.Request, host: str, *, is_behind_proxy: bool) -> str | None:
    """Every browser says from where it comes if a page changes something. A program need not."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    own = {f"http://{host}".lower()} | ({f"https://{host}".lower()} if is_behind_proxy else set())
    if origin is not None and origin.lower() not in own:
        return "found a change from a page of another Origin, expected the dashboard's own"
    if site not in {None, "same-origin"}:
        return "found a change from another site, expected the dashboard's own page"
    return None


def _is_open(request: web.Request) -> bool:
    """Files of the package, and the page that takes the token."""
    return request.path in {LOGIN, "/favicon.ico"} or request.path.startswith("/static/")


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except web.HTTPException as error:
        return web.Response(
            status=error.status, text=f"tuned-dashboard: {error.reason}\n", headers=_allow(error)
        )
    except Exception:  # noqa: BLE001 (one page that fails is no reason for the others to)
        return _broken(request)


def _broken(request: web.Request) -> web.Response:
    _log.exception("page failed", path=request.path)
    return web.Response(status=500, text="tuned-dashboard: an error of its own; its log has the reason\n")


def _allow(error: web.HTTPException) -> dict[str, str]:
    return {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}


def _digest(text: str) -> bytes:
    # Of one length, so that a comparison tells nothing of the token's.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
