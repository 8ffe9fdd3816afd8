"""Work on the files of trials, done in this process, whose user owns them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from tuned.keeper.chores import Chores

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tuned.disk.layout import Layout
    from tuned.keeper.chores import Chore

T = TypeVar("T")


class Doer(Protocol):
    """Somebody who may do it."""

    async def step(self, chore: Chore[T]) -> tuple[list[T], bool]:
        """Goes on with it for a moment. Returns what it found, and whether it is done.

        Raises OSError, and then it is over.
        """


async def done(step: Callable[[Chore[T]], Awaitable[tuple[list[T], bool]]], chore: Chore[T]) -> list[T]:
    """Has a chore done to its end, step by step. Returns all that was found. Raises what a step raises."""
    found: list[T] = []
    is_done = False
    while not is_done:
        some, is_done = await step(chore)
        found += some
    return found


class Here:
    """In threads of this process."""

    def __init__(self, layout: Layout) -> None:
        self._chores = Chores(layout)

    async def step(self, chore: Chore[T]) -> tuple[list[T], bool]:
        """As ``Doer``."""
        found, is_done = await asyncio.to_thread(self._chores.step, chore.number, chore.work, chore.of)
        return [chore.understood(each) for each in found], is_done
