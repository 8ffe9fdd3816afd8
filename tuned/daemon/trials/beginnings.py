"""The way of a point from its claim to the keeper, on which a daemon must not be replaced.

The successor finds what the keeper has: a trial that was only claimed would be lost. This room must never
begin or end anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.trials.running import Running

_log: FilteringBoundLogger = structlog.get_logger()

#: So long a daemon that is to be replaced waits. A database that is slow or away must not hold it up.
BEGIN_SECONDS = 10.0

PAUSE_SECONDS = 0.01


class Beginnings:
    """Belongs to the event loop's thread."""

    def __init__(self, slots: Sequence[Running | None]) -> None:
        self._slots = slots
        self._claiming = 0
        #: A daemon that is to be replaced claims nothing more.
        self.is_held = False
        #: A host outside of its hours claims nothing, either.
        self.is_off = False

    @property
    def may_claim(self) -> bool:
        return not (self.is_held or self.is_off)

    @contextlib.contextmanager
    def claiming(self) -> Iterator[bool]:
        """While a slot claims a point, if it may."""
        self._claiming += 1
        try:
            yield self.may_claim
        finally:
            self._claiming -= 1

    async def hold(self) -> None:
        """Nothing more is claimed. Waits until all that is claimed has begun, within bounds."""
        self.is_held = True
        deadline = time.monotonic() + BEGIN_SECONDS
        while self._are_under_way():
            if time.monotonic() > deadline:
                _log.warning("trials have been claimed and not begun", seconds=BEGIN_SECONDS)
                return
            await asyncio.sleep(PAUSE_SECONDS)

    def _are_under_way(self) -> bool:
        busy = [running for running in self._slots if running is not None]
        return self._claiming > 0 or not all(running.has_begun for running in busy)
