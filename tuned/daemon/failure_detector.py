"""Decides which hosts are dead: those whose counter stood still for too long of our own time.

This room owns the sightings of one observer. It must never compare clocks of two hosts, ask the database, or
count time in which beats of our own did not go through.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tuned.storage.hosts import HostRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A host as we saw it last, and since when its counter stands where it does (monotonic seconds)."""

    row: HostRow
    since: float

    def age_seconds(self) -> float:
        return time.monotonic() - self.since


class FailureDetector:
    """The beats of other hosts, as one observer has seen them."""

    def __init__(self, interval_seconds: float, expire_seconds: float) -> None:
        self._interval = interval_seconds
        self._expire = expire_seconds
        self._sightings: dict[str, Sighting] = {}
        self._last_look: float | None = None

    @property
    def sightings(self) -> list[Sighting]:
        return sorted(self._sightings.values(), key=lambda sighting: sighting.row.name)

    def look(self, rows: list[HostRow], now: float) -> list[HostRow]:
        """Takes note of all hosts, right after a beat of our own went through; returns those found dead."""
        if self._last_look is not None and now - self._last_look > 3 * self._interval:
            # This host was away or frozen itself: the other counters may have moved unseen.
            self._sightings.clear()
        self._last_look = now
        seen: dict[str, Sighting] = {}
        for row in rows:
            before = self._sightings.get(row.incarnation)
            stands = before is not None and before.row.beat == row.beat
            since = before.since if before is not None and stands else now
            seen[row.incarnation] = Sighting(row=row, since=since)
        self._sightings = seen
        return [s.row for s in seen.values() if not s.row.dead and now - s.since >= self._expire]

    def blink(self) -> None:
        """Restarts the watch over all hosts, because a beat of our own did not go through."""
        self._sightings.clear()
