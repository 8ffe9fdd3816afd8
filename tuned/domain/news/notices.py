"""Notices: what a fleet tells people of an experiment, who wants to hear of it, and when it is tried again.

It owns the words and the rules. It must never send anything, or know where notices are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

#: The occasions as people name them in ``notify.on``.
Event = Literal["done", "failed", "better"]

EVENTS: tuple[Event, ...] = ("done", "failed", "better")

#: So long an undelivered notice is tried again.
KEPT_SECONDS = 24 * 3600.0

#: A notice of one kind comes at most so often from one experiment.
SPACING_SECONDS = 60.0

_FIRST_PAUSE_SECONDS = 10.0

_LAST_PAUSE_SECONDS = 3600.0


class Occasion(StrEnum):
    """The reason of a notice."""

    #: The experiment is over, also if a person cancelled it.
    ENDED = "ended"
    #: It is over, and no trial of it has a value.
    FRUITLESS = "fruitless"
    #: The breaker paused it, for the whole fleet.
    BROKEN = "broken"
    #: There is a better value than all before.
    BETTER = "better"

    @property
    def event(self) -> Event:
        """The event that people are told."""
        return _EVENT_OF[self]

    def is_wanted(self, on: frozenset[str]) -> bool:
        """Whether somebody who asked for these events hears of it."""
        # An end is an end, however it came about.
        return self.event in on or (self is Occasion.FRUITLESS and "done" in on)


_EVENT_OF: dict[Occasion, Event] = {
    Occasion.ENDED: "done",
    Occasion.FRUITLESS: "failed",
    Occasion.BROKEN: "failed",
    Occasion.BETTER: "better",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Of which events somebody wants to hear, and how."""

    on: frozenset[str] = frozenset()
    #: It is given to no reader and no log: it may hold a secret.
    url: str | None = None
    #: A program and its arguments, which may hold secrets too.
    command: tuple[str, ...] | None = None

    @property
    def has_way(self) -> bool:
        return self.url is not None or self.command is not None


#: Of a host or an experiment without a table [notify].
NO_WISHES = Wishes()


def pause_seconds(tries: int) -> float:
    """How long to wait after so many tries of one notice have failed."""
    return min(_LAST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 20))
