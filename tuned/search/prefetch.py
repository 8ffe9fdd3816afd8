"""Decides when the points of a search are drawn: as a slot asks for one, or ahead of that.

A sampler that draws as a slot asks knows the results of all evaluations here. A point that was drawn ahead is
at hand at once, but its sampler did not know the trials that have ended since. So as few points are drawn
ahead as slots need in order not to wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import statistics
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tuned.search.sampling import Draft, PointSource
    from tuned.search.unconfirmed import Unconfirmed
    from tuned.storage.link import Link

#: How long a slot may wait for its point, as a part of the time that an evaluation takes.
MOST_WAIT = 0.005

#: The median of so many draws and evaluations estimates the next. The median, because a first draw reads a
#: whole history, and a failure may take no time.
_LATEST = 5


class Prefetch:
    """The points of one search that are drawn and not yet claimed. Belongs to the event loop's thread."""

    def __init__(self, link: Link, source: PointSource, unconfirmed: Unconfirmed) -> None:
        self._link = link
        self._source = source
        self._unconfirmed = unconfirmed
        #: The next points, oldest first.
        self._ahead: deque[asyncio.Task[Draft]] = deque()
        #: In seconds, the latest.
        self._draws: deque[float] = deque(maxlen=_LATEST)
        self._evaluations: deque[float] = deque(maxlen=_LATEST)
        #: So many slots are on their way to a claim.
        self._claiming = 0

    @contextlib.contextmanager
    def claim(self) -> Iterator[None]:
        """While a slot is on its way from the wish for a point to its claim."""
        self._claiming += 1
        try:
            yield
        finally:
            self._claiming -= 1

    def note_claimed(self, slots: int) -> None:
        """Takes note that one of so many slots at work has its point."""
        if not (self._source.learns and self._unconfirmed):
            # If a result is on its way, its arrival is the better time.
            self.draw_ahead(slots)

    def note_evaluated(self, seconds: float) -> None:
        """Takes note of how long an evaluation took."""
        self._evaluations.append(seconds)

    async def next(self, slots: int) -> Draft:
        """A point for one of so many slots at work. Raises DatabaseAway."""
        if self._needed(slots) == 0:
            self._drop()
        while self._ahead and _has_failed(self._ahead[0]):
            # Drawn anew, because its cause may be gone.
            self._ahead.popleft()
        if self._ahead:
            draft = await self._ahead.popleft()
            return replace(draft, candidate=replace(draft.candidate, is_ahead=True))
        return await self.fresh(slots)

    async def fresh(self, slots: int) -> Draft:
        """A point whose sampler knows the results of this host, if there is time to wait for them.

        Raises DatabaseAway.
        """
        seconds = self._seconds_to_spare(slots)
        if seconds > 0 and self._source.learns:
            await self._unconfirmed.arrival(seconds)
        return await self._draw()

    def draw_ahead(self, slots: int) -> None:
        """Begins to draw the points that so many slots need. Best called when a result has become known.

        Nothing is drawn while a slot claims: a claim holds the study's lock, and a draw that keeps the
        interpreter busy would make it hold the lock for longer.
        """
        if self._claiming:
            return
        for _ in range(self._needed(slots) - len(self._ahead)):
            draw = asyncio.create_task(self._draw())
            # Reads the exception, so that asyncio does not report a draw that nobody waits for.
            draw.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._ahead.append(draw)

    def _needed(self, slots: int) -> int:
        """How many points must be at hand so that no slot waits for too long if all ask at once."""
        if not self._draws:
            return 0
        if not self._evaluations:
            # Evaluations may turn out to be short.
            return slots
        return max(0, math.ceil(-self._seconds_to_spare(slots) / statistics.median_low(self._draws)))

    def _seconds_to_spare(self, slots: int) -> float:
        """The rest of the longest wait if all slots ask at once; negative if they would wait for longer."""
        if not self._draws or not self._evaluations:
            return 0.0
        evaluation, draw = statistics.median_low(self._evaluations), statistics.median_low(self._draws)
        return MOST_WAIT * evaluation - slots * draw

    def _drop(self) -> None:
        while self._ahead:
            self._ahead.popleft().add_done_callback(self._release)

    def _release(self, draw: asyncio.Task[Draft]) -> None:
        if not draw.cancelled() and draw.exception() is None:
            self._source.release(draw.result())

    async def _draw(self) -> Draft:
        draft = await self._link.draw(self._source.draw)
        self._draws.append(draft.seconds)
        return draft


def _has_failed(draw: asyncio.Task[Draft]) -> bool:
    return draw.done() and (draw.cancelled() or draw.exception() is not None)
