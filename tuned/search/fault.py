"""Why something of an experiment fails on this host, and when it is tried again.

This room owns the pause, which grows while the fault lasts. It must never wait.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tuned.storage.faults import reason_of

FIRST_PAUSE_SECONDS = 1.0

#: An experiment goes on so long after the cause is gone, at the latest.
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure, or several in a row."""

    #: For people, one line.
    reason: str
    pause_seconds: float
    #: When it may be tried again, by the monotonic clock.
    due: float

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self.due


def fault_after(error: Exception, last: Fault | None) -> Fault:
    """The fault of this failure; ``last`` is the one that it follows."""
    pause = FIRST_PAUSE_SECONDS if last is None else min(2 * last.pause_seconds, LONGEST_PAUSE_SECONDS)
    return Fault(reason=reason_of(error), pause_seconds=pause, due=time.monotonic() + pause)
