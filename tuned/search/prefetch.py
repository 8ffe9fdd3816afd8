"""Decides when the points of a search are drawn: as a slot asks for one, or ahead of that.

A sampler that learns is asked when the slot is free: then it knows all that this host found. A point that was
drawn ahead is at hand at once, but its sampler did not know the trials that have ended since. So that is for
samplers that do not learn, and for one point at a time if draws take long beside evaluations.
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
    from tuned.storage.link import Link

#: How long a slot may wait for its point if the sampler does not learn, and for what its host has to tell, as
#: a part of the time that an evaluation takes.
MOST_WAIT = 0.005

#: How long a draw of a sampler that learns may take, as such a part, if none is made ahead.
MOST_DRAW = 0.1

#: The median of so many draws and evaluations estimates the next. The median, because a first draw reads a
#: whole history, and a failure may take no time.
_LATEST = 5


class Prefetch:
    """The points of one search that are drawn and not yet claimed. Belongs to the event loop's thread."""

    def __init__(self, link: Link, source: PointSource) -> None:
        self._link = link
        self._source = source
        #: One draw at a time: others would only occupy the threads in which other searches draw.
        self._turn = asyncio.Lock()
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
        """Takes note that one of so many slots at work has its point, and begins to draw for the next.

        Nothing is drawn while a slot claims: a claim holds the study's lock, and a draw that keeps the
        interpreter busy would make it hold the lock for longer.
        """
        if self._claiming:
            return
        for _ in range(self._needed(slots) - len(self._ahead)):
            draw = asyncio.create_task(self.fresh())
            # Reads the exception, so that asyncio does not report a draw that nobody waits for.
            draw.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._ahead.append(draw)

    def note_evaluated(self, seconds: float) -> None:
        """Takes note of how long an evaluation took."""
        self._evaluations.append(seconds)

    @property
    def patience_seconds(self) -> float:
        """How long a slot may wait and hardly lose anything: 0 before the first evaluation has ended."""
        return MOST_WAIT * statistics.median_low(self._evaluations) if self._evaluations else 0.0

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
        return await self.fresh()

    async def fresh(self) -> Draft:
        """A point that is drawn now. Raises DatabaseAway."""
        async with self._turn:
            draft = await self._link.draw(self._source.draw)
        self._draws.append(draft.seconds)
        return draft

    def _needed(self, slots: int) -> int:
        """How many points must be at hand for so many slots."""
        if not self._draws:
            return 0
        draw = statistics.median_low(self._draws)
        if not self._source.learns:
            # So many that no slot waits for too long if all ask at once; all while no evaluation has ended.
            return max(0, math.ceil(slots - self.patience_seconds / draw))
        if not self._evaluations:
            return 0
        evaluation = statistics.median_low(self._evaluations)
        # Draws follow one another. If all slots wait for them in any case, a point drawn ahead gains nothing.
        return int(MOST_DRAW * evaluation < draw and (slots - 1) * draw < evaluation)

    def _drop(self) -> None:
        while self._ahead:
            self._ahead.popleft().add_done_callback(self._release)

    def _release(self, draw: asyncio.Task[Draft]) -> None:
        if not draw.cancelled() and draw.exception() is None:
            self._source.release(draw.result())


def _has_failed(draw: asyncio.Task[Draft]) -> bool:
    return draw.done() and (draw.cancelled() or draw.exception() is not None)
