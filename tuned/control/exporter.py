"""``/metrics`` over TCP, for a Prometheus that reads no Unix socket. Off unless the settings name an address.

Everybody who reaches the port may read the metrics, and nothing else: no other path is answered, and nothing
can be changed. An address that cannot be used is told and tried again; it never ends the daemon.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from tuned.config.settings_file import split_address
from tuned.control import metrics

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.control.host import Host

_log: FilteringBoundLogger = structlog.get_logger()

#: A few scrapers, and nobody who could use up the daemon's descriptors.
MOST_CONNECTIONS = 16

#: A connection on which no request arrives for so long is closed.
IDLE_SECONDS = 60.0

RETRY_SECONDS = 10.0


class Exporter:
    """The listener of one host. Belongs to the event loop's thread."""

    def __init__(self, host: Host, address: str) -> None:
        self._host = host
        #: Empty for none.
        self._address = address
        self._open = 0
        #: Why nobody can read the metrics there; empty if they can.
        self.problem = ""

    async def run(self) -> None:
        """Loop: listen, and try again while the address cannot be used."""
        while self._address:
            try:
                await self._listen()
            except (OSError, UnicodeError) as error:
                self._tell(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        host, port = split_address(self._address)
        server = web.Server(self._answer, handler_cancellation=True)
        listener = await asyncio.get_running_loop().create_server(
            lambda: _Connection(server, self), host, port
        )
        try:
            self.problem = ""
            _log.info("metrics served", address=self._address)
            await asyncio.Event().wait()
        finally:
            listener.close()
            await server.shutdown(0)

    def _tell(self, error: OSError | UnicodeError) -> None:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        before, self.problem = self.problem, f"cannot serve metrics on {self._address}: {reason}"
        if self.problem != before:
            _log.error("metrics not served", address=self._address, reason=reason)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/metrics":
            return web.Response(status=404, text="here is nothing but /metrics\n")
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, text="metrics are only read\n", headers={"Allow": "GET, HEAD"})
        return web.Response(body=await self._host.metrics(), headers={"Content-Type": metrics.CONTENT_TYPE})

    def admit(self) -> bool:
        self._open += 1
        return self._open <= MOST_CONNECTIONS

    def leave(self) -> None:
        self._open -= 1


class _Connection(web.RequestHandler):
    """One scraper's; closed at once if there are too many."""

    __slots__ = ("_exporter",)

    def __init__(self, server: web.Server, exporter: Exporter) -> None:
        super().__init__(
            server, loop=asyncio.get_running_loop(), keepalive_timeout=IDLE_SECONDS, lingering_time=1.0,
            access_log=None,  # type: ignore[arg-type]
        )  # fmt: skip
        self._exporter = exporter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        is_admitted = self._exporter.admit()
        super().connection_made(transport)
        if not is_admitted:
            transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._exporter.leave()
        super().connection_lost(exc)
