"""The order in which calls of the database begin: so many at once, and the most urgent first.

On a line with latency, claims of many slots wait for each other for minutes. A result must not wait behind
them. This room owns the order; it must never know what a call does.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter, deque


class Lane(enum.IntEnum):
    """The purpose of a call; the lower, the more urgent."""

    #: A result: it goes first.
    TELL = 0
    #: Settling, opening, looking where studies stand, and changes by people.
    LOOK = 1
    #: A question of a person or a program that watches.
    ASK = 2
    #: The way of a slot to its next point.
    CLAIM = 3
    #: The reports of running trials: no slot waits for them.
    SHARE = 4


#: Questions come from anybody on this host: they must not take all places from the claims.
_MOST_QUESTIONS = 1


class Lanes:
    """Places for calls. Belongs to the event loop's thread."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._busy: Counter[Lane] = Counter()
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in Lane}

    async def enter(self, lane: Lane) -> None:
        """Waits for a place. The caller gives it back with ``leave``, if it was not cancelled here."""
        ticket = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(ticket)
        self._grant()
        try:
            await ticket
        except asyncio.CancelledError:
            if not ticket.cancelled():
                self.leave(lane)
            raise

    def leave(self, lane: Lane) -> None:
        self._busy[lane] -= 1
        self._grant()

    def _grant(self) -> None:
        for lane in Lane:
            waiting = self._waiting[lane]
            while waiting and self._has_place(lane):
                ticket = waiting.popleft()
                # A caller that was cancelled meanwhile needs no place.
                if not ticket.done():
                    self._busy[lane] += 1
                    ticket.set_result(None)

    def _has_place(self, lane: Lane) -> bool:
        is_full = lane is Lane.ASK and self._busy[lane] >= _MOST_QUESTIONS
        return not is_full and self._busy.total() < self._places
