"""Why something of an experiment fails on this host, and when it is tried again.

This room owns the pause, which grows while the fault lasts. It must never wait.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tuned.errors import TunedError
from tuned.storage.connection.faults import reason_of

FIRST_PAUSE_SECONDS = 1.0

#: An experiment goes on so long after the cause is gone, at the latest.
LONGEST_PAUSE_SECONDS = 60.0


def way_on(experiment: str) -> str:
    """For a person, after the breaker paused an experiment."""
    return f"fix it, then: tunectl resume {experiment}"


def traced(error: Exception) -> Exception | None:
    """The error for the log, with its traceback; None if its words are for a person, and say all."""
    return None if isinstance(error, TunedError) else error


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure, or several in a row."""

    #: For people, one line.
    reason: str
    pause_seconds: float
    #: When it may be tried again, by the monotonic clock.
    due: float
    #: The failure before it, if there was one, had another reason.
    is_new: bool

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self.due


def fault_after(error: Exception, last: Fault | None) -> Fault:
    """The fault of this failure; ``last`` is the one that it follows."""
    pause = FIRST_PAUSE_SECONDS if last is None else min(2 * last.pause_seconds, LONGEST_PAUSE_SECONDS)
    reason = reason_of(error)
    is_new = last is None or last.reason != reason
    return Fault(reason=reason, pause_seconds=pause, due=time.monotonic() + pause, is_new=is_new)


class Faults:
    """The failures of one experiment on this host: the last one, and whether it is still waited for."""

    def __init__(self) -> None:
        #: Until a turn of a slot goes well, and so until the end of its trial, which may take days.
        self.last: Fault | None = None
        self._is_waiting = False

    @property
    def waiting(self) -> Fault | None:
        """The fault that keeps this host from starting anything now."""
        return self.last if self._is_waiting else None

    def add(self, error: Exception) -> bool:
        """Takes note of a failure; False if the last one had the same reason.

        Several slots fail alike at once: the pause is for all of them.
        """
        if self._is_waiting and self.last is not None and self.last.reason == reason_of(error):
            return False
        self._is_waiting = True
        self.last = fault_after(error, self.last)
        return self.last.is_new

    def try_again(self) -> None:
        """The pause is over. The next failure makes it longer."""
        self._is_waiting = False

    def note_success(self) -> None:
        """The next failure is a first one, unless this success came while a later failure waits."""
        if not self._is_waiting:
            self.last = None

    def forget(self) -> None:
        self.last, self._is_waiting = None, False
