"""Requests to another host, and those of others to this one: drain, abort and restart from anywhere.

The beat says whether there is one for us, so a host that nobody asks does nothing more. A request is carried
out in a task of its own, because a restart looks at the settings first and no beat may wait for that. It must
never carry out a request that it has not taken.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from tuned.domain.states import HostCommand, HostState
from tuned.errors import Conflict, DatabaseAway, TunedError
from tuned.storage import requests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.protocol.fleet import HostReply
    from tuned.storage.link import Link
    from tuned.storage.requests import Asked, Reply, Request

_log: FilteringBoundLogger = structlog.get_logger()

#: A host that does not take a request within so many beats does not answer.
MOST_BEATS = 3

LOOK_SECONDS = 0.1

#: How long a host that has taken a request may take to obey: a restart looks at the settings first.
OBEY_SECONDS = 60.0


class Requests:
    """Those of others to this host. Belongs to the event loop's thread."""

    def __init__(
        self,
        link: Link,
        *,
        drain: Callable[[], HostState],
        abort: Callable[[], HostState],
        check: Callable[[], Awaitable[None]],
        restart: Callable[[], HostState],
    ) -> None:
        """``check`` raises Conflict if a restart would not succeed."""
        self._link = link
        self._drain = drain
        self._abort = abort
        self._check = check
        self._restart = restart

    async def carry_out(self, incarnation: str) -> None:
        """Takes all that are for this incarnation, and obeys. After an outage the next beat finds them."""
        try:
            found = await self._link.beat(requests.take, incarnation)
            # Begun in their order, but none waits for a restart that looks at the settings.
            await asyncio.gather(*map(self._carry_out, found))
        except DatabaseAway:
            _log.debug("requests not looked at")
        except Exception:  # noqa: BLE001 (a loop's edge)
            _log.exception("requests not carried out")

    async def _carry_out(self, request: Request) -> None:
        _log.warning(
            "request of another host", command=request.command, user=request.user, asked_on=request.asked_on
        )
        state = refusal = ""
        try:
            state = (await self._obeyed(request)).value
        except TunedError as error:
            refusal = str(error)
            _log.warning("request refused", command=request.command, reason=refusal)
        await self._link.beat(requests.answer, request.request_id, state=state, refusal=refusal)

    async def _obeyed(self, request: Request) -> HostState:
        match request.command:
            case HostCommand.DRAIN:
                return self._drain()
            case HostCommand.ABORT:
                return self._abort()
            case HostCommand.RESTART:
                await self._check()
                # This process is about to be replaced: its successor cannot reply.
                replied = HostState.RUNNING.value
                await self._link.beat(requests.answer, request.request_id, state=replied)
                return self._restart()
        raise Conflict(f"cannot {request.command}: this host's version does not know it")


async def ask_host(
    link: Link, host: str, command: HostCommand, *, user: str, asked_on: str, interval_seconds: float
) -> HostReply:
    """Has another host obey, and returns its reply.

    Raises NotFound, DatabaseAway, Conflict if it is dead, refuses, or takes nothing within three beats.
    """
    patience = MOST_BEATS * interval_seconds
    asked = await link.call(requests.ask, host, command, user=user, asked_on=asked_on, seconds=patience)
    _log.warning("another host is asked", asked_host=host, command=command.value, user=user)
    began = time.monotonic()
    reply = await _until(link, asked, lambda reply: reply.is_seen, began + patience)
    if reply is None and await link.call(requests.withdraw, asked):
        raise Conflict(
            f"cannot {command} host {host}: it has not answered within {MOST_BEATS} beats"
            f" ({patience:g} s), and the request is withdrawn; see: tunectl hosts"
        )
    seen_seconds = time.monotonic() - began
    reply = await _until(link, asked, _is_over, time.monotonic() + OBEY_SECONDS)
    if reply is None:
        raise Conflict(f"cannot say whether host {host} obeys: it took the request, and has not replied yet")
    await link.call(requests.forget, asked)
    if reply.refusal:
        raise Conflict(f"host {host} refuses: {reply.refusal}")
    # A host that is replaced or ends at once may be gone before it replies.
    at_last = HostState.RUNNING if command is HostCommand.RESTART else HostState.STOPPED
    return {"host": host, "state": HostState(reply.state or at_last).value, "seen_seconds": seen_seconds}


def _is_over(reply: Reply) -> bool:
    return bool(reply.state or reply.refusal or reply.is_gone)


async def _until(
    link: Link, asked: Asked, is_enough: Callable[[Reply], bool], deadline: float
) -> Reply | None:
    """The first reply that is enough; None if none was until then."""
    while True:
        reply = await link.ask(requests.look, asked)
        if is_enough(reply):
            return reply
        if time.monotonic() >= deadline:
            return None
        await asyncio.sleep(LOOK_SECONDS)
