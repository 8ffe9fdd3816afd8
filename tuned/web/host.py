"""The daemon of this host, asked over its socket: slots, output, and what a person changes.

A dashboard may stand on a host without a daemon, or beside one that is away: then there is nothing of it, and
the pages show the database alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import aiohttp

from tuned.errors import TunedError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tuned.protocol.host import Status

#: A page does not wait longer for a daemon that hangs.
_STATUS_SECONDS = 2.0

#: Of a change, which waits for the database.
_CHANGE_SECONDS = 30.0

_MOST_OUTPUT_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The first daemon that answers on one of the sockets."""

    sockets: Sequence[Path]

    async def status(self) -> Status | None:
        """With the last lines of the trials, if we may see them; None if nobody answers."""
        try:
            return cast("Status", await self._json("GET", "/v1/status?output=1", _STATUS_SECONDS))
        except TunedError:
            return None

    async def output(self, name: str, number: int) -> str | None:
        """The end of a trial's output on this host; None if it is not here, or not for us."""
        path = f"{_experiment(name)}/logs?trial={number}&tail={_MOST_OUTPUT_BYTES}"
        try:
            content = await self._ask("GET", path, _STATUS_SECONDS)
        except TunedError:
            return None
        return content.decode(errors="replace")

    async def change(self, name: str, verb: str) -> None:
        """Raises TunedError with the daemon's own words."""
        await self._json("POST", f"{_experiment(name)}/{verb}", _CHANGE_SECONDS)

    async def _json(self, method: str, path: str, seconds: float) -> Any:
        try:
            return json.loads(await self._ask(method, path, seconds))
        except ValueError as error:
            raise Unreachable(f"the daemon's answer is no JSON: {error}") from None

    async def _ask(self, method: str, path: str, seconds: float) -> bytes:
        limit = aiohttp.ClientTimeout(total=seconds)
        for socket in self.sockets:
            try:
                connector = aiohttp.UnixConnector(str(socket))
                async with (
                    aiohttp.ClientSession(connector=connector, timeout=limit) as session,
                    session.request(method, f"http://tuned{path}") as answer,
                ):
                    content = await answer.read()
            except (TimeoutError, aiohttp.ClientError, OSError):
                continue
            if answer.status != 200:
                raise TunedError(_message(content))
            return content
        raise Unreachable("no daemon of this host answers, expected one for this")


def _experiment(name: str) -> str:
    return f"/v1/experiments/{quote(name, safe='')}"


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "the daemon refused it without a reason"
