"""Tells of a disk that takes no writes: once, then with growing pauses, and what a person can do.

A full disk fails each trial's files in the same way. This room must never decide what becomes of them.
"""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()

FIRST_PAUSE_SECONDS = 10.0

LONGEST_PAUSE_SECONDS = 600.0

#: Errors of a whole disk, and of no single file.
OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class DiskOutage:
    """One kind of failure. Belongs to the thread that notes it."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._errno: int | None = None
        self._failed_at = 0.0
        self._due = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        #: Failures since it was last told.
        self._count = 0

    def note(self, error: OSError, path: str) -> None:
        """Takes note of a failure, and tells it if that is due."""
        now = time.monotonic()
        # While it lasts, some writes may go through, so only time without a failure ends it.
        is_another = error.errno != self._errno or now - self._failed_at > 2 * self._pause
        self._errno, self._failed_at = error.errno, now
        self._count += 1
        if is_another:
            self._pause = FIRST_PAUSE_SECONDS
        elif now < self._due:
            return
        _log.error(self._event, file=path, error=str(error), failures=self._count, remedy=_remedy(error))
        self._count = 0
        self._due = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)


def _remedy(error: OSError) -> str:
    if error.errno in _FULL:
        return "make room on the disk that the file is on; the daemon goes on by itself"
    return "see that the daemon can write the file; it goes on by itself"
