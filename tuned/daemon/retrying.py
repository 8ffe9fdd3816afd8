"""The edge of a step that must go through at some time: an outage or a bug delays it, and ends nothing.

A bug is logged with its traceback, and tried again after a growing pause. This room must never decide what a
step does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from tuned.errors import Conflict, DatabaseAway

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()

R = TypeVar("R")

FIRST_PAUSE_SECONDS = 1.0

LAST_PAUSE_SECONDS = 60.0


async def retried(
    link: Link, doing: str, step: Callable[[], Awaitable[R]], *, on_failure: Callable[[], None] = lambda: None
) -> R:
    """Repeats a step until it goes through. Raises Conflict, which only a person can mend."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await step()
        except DatabaseAway:
            on_failure()
            await link.back()
        except Conflict:
            raise
        except Exception:  # noqa: BLE001 (a loop's edge)
            on_failure()
            _log.exception("cannot go on, tried again later", doing=doing, seconds=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)


async def insisted(link: Link, call: Callable[[], Awaitable[R]]) -> R:
    """Repeats a call for as long as the database is away. Raises all else that the call raises."""
    while True:
        try:
            return await call()
        except DatabaseAway:
            await link.back()
