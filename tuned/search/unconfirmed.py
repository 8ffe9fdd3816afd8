"""Points that were evaluated here although the database does not know it yet, and still calls them held."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: How long a slot waits for a result to arrive. It takes longer only if the database is slow or away.
MOST_SECONDS = 1.0


class Unconfirmed:
    """Ended trials of one search whose results are on their way. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        #: Of the points, by claim.
        self._keys: dict[str, str] = {}
        self._was_told = asyncio.Event()
        #: How many results have arrived.
        self.told = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, claim_id: str, key: str) -> None:
        self._keys[claim_id] = key

    def settle(self, claim_id: str) -> None:
        """The database has the result of a claim, also of one that ended before this daemon began."""
        self.told += 1
        self._keys.pop(claim_id, None)
        self._was_told.set()
        self._was_told = asyncio.Event()

    async def arrival(self, seconds: float) -> None:
        """Waits until the database has all results that are on their way now; for at most so many seconds."""
        ours = set(self._keys)
        await self._until(lambda: ours.isdisjoint(self._keys), min(seconds, MOST_SECONDS))

    async def arrival_of(self, key: str) -> None:
        """Waits until no result of this point is on its way; for at most ``MOST_SECONDS``."""
        await self._until(lambda: key not in self._keys.values(), MOST_SECONDS)

    async def _until(self, is_met: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not is_met():
                    await self._was_told.wait()
