"""Work on the files of trials, done in this process, whose user owns them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from tuned.keeper.chores import Chores

if TYPE_CHECKING:
    from tuned.disk.layout import Layout
    from tuned.keeper.chores import Chore

T = TypeVar("T")


class Doer(Protocol):
    """Somebody who may do it."""

    async def step(self, chore: Chore[T]) -> tuple[list[T], bool]:
        """Goes on with it for a moment. Returns what it found, and whether it is done.

        Raises OSError, and then it is over.
        """


class Here:
    """In threads of this process."""

    def __init__(self, layout: Layout) -> None:
        self._chores = Chores(layout)

    async def step(self, chore: Chore[T]) -> tuple[list[T], bool]:
        """As ``Doer``."""
        found, is_done = await asyncio.to_thread(self._chores.step, chore.number, chore.work, chore.of)
        return [chore.understood(each) for each in found], is_done
