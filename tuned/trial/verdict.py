"""A rule's word on one attempt at a trial, which comes while its process runs.

It owns the word, and that it can be waited for. It must never know the rule.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuned.domain.ending import Pruning


class Verdict:
    """The attempt is to end, or nothing yet. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        #: The rule's reason; None while there is none.
        self.pruning: Pruning | None = None
        self._given = asyncio.Event()

    @property
    def is_given(self) -> bool:
        """Whether the attempt is to end."""
        return self._given.is_set()

    def give(self, pruning: Pruning) -> None:
        self.pruning = pruning
        self._given.set()

    def withdraw(self) -> None:
        """The attempt had ended, or had its result, before."""
        self._given.clear()

    async def given(self) -> None:
        """Waits until the attempt is to end."""
        await self._given.wait()
