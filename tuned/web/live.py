"""Pages that stay as they are only while nothing changes: the parts that are new go to whoever looks.

One look a second serves all who look at the same page; a part goes to a browser only if it is another text.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from tuned.errors import TunedError
from tuned.web import pages as pages_module
from tuned.web.guard import put_headers
from tuned.web.reader import LOOK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tuned.web.rendering import Page

#: A browser that hears nothing for so long is told that we are there.
_SILENT_SECONDS = 15.0

#: More browsers at once are too many for one process.
MOST_LISTENERS = 200


@dataclass(slots=True)
class _Channel:
    """One page, and all who look at it."""

    make: Callable[[], Awaitable[Page]]
    page: Page
    listeners: int = 0
    version: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    task: asyncio.Task[None] | None = None


class Live:
    """A page is made once a second while somebody looks at it, and not otherwise."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        self._is_over = asyncio.Event()

    def end(self) -> None:
        """All streams end: a server that stops waits for none."""
        self._is_over.set()
        for channel in self._channels.values():
            if channel.task is not None:
                channel.task.cancel()

    async def stream(
        self, request: web.Request, address: str, make: Callable[[], Awaitable[Page]]
    ) -> web.StreamResponse:
        if sum(each.listeners for each in self._channels.values()) >= MOST_LISTENERS:
            raise web.HTTPServiceUnavailable(reason="too many browsers look already")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        put_headers(response)
        channel = self._channels.get(address)
        if channel is None:
            channel = _Channel(make, await _made(make))
            channel = self._channels.setdefault(address, channel)
        channel.listeners += 1
        if channel.task is None:
            channel.task = asyncio.get_running_loop().create_task(self._keep(channel))
        try:
            await response.prepare(request)
            await self._tell(response, channel)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            channel.listeners -= 1
            if channel.listeners == 0:
                self._channels.pop(address, None)
                channel.task.cancel()
        return response

    async def _keep(self, channel: _Channel) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            page = await _made(channel.make)
            if page.parts != channel.page.parts:
                channel.page = page
                channel.version += 1
                async with channel.changed:
                    channel.changed.notify_all()

    async def _tell(self, response: web.StreamResponse, channel: _Channel) -> None:
        sent: dict[str, str] = {}
        version = -1
        while not self._is_over.is_set():
            if channel.version != version:
                version, parts = channel.version, channel.page.parts
                new = {name: html for name, html in parts.items() if sent.get(name) != html}
                sent = dict(parts)
                await response.write(f"data: {json.dumps(new)}\n\n".encode())
            elif not await self._has_changed(channel, version):
                await response.write(b": still here\n\n")

    async def _has_changed(self, channel: _Channel, version: int) -> bool:
        async def changed() -> None:
            async with channel.changed:
                await channel.changed.wait_for(lambda: channel.version != version)

        tasks = [asyncio.ensure_future(changed()), asyncio.ensure_future(self._is_over.wait())]
        try:
            done, _ = await asyncio.wait(tasks, timeout=_SILENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        return bool(done)


async def _made(make: Callable[[], Awaitable[Page]]) -> Page:
    try:
        return await make()
    except TunedError as error:
        return pages_module.problem(error)
