"""Removes code that nobody needs any more, on this host and in the database.

It must never remove the code of an experiment that is here, or of a study that has not ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from tuned.errors import DatabaseAway
from tuned.storage import snapshots

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.scheduler import Scheduler
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()

#: Between two looks.
PAUSE_SECONDS = 3600.0


async def tidied(link: Link, scheduler: Scheduler) -> None:
    """Loop: removes what an earlier daemon did not finish, and then what nobody has used for long."""
    with contextlib.suppress(OSError):
        # Before code is unpacked, this is tried again.
        await scheduler.code.clear()
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        try:
            await tidy(link, scheduler)
        except DatabaseAway:
            _log.debug("unused code not removed")
        except Exception:  # noqa: BLE001 (a loop's edge)
            _log.exception("unused code not removed")


async def tidy(link: Link, scheduler: Scheduler) -> None:
    """Removes what is not used now. Raises DatabaseAway, OSError."""
    running = [each.evaluation.experiment for each in scheduler.slots if each is not None]
    await scheduler.code.tidy([*running, *(each.experiment for each in scheduler.searches.values())])
    if gone := await link.share(snapshots.forget_unused):
        _log.info("unused code removed from the database", snapshots=gone)
