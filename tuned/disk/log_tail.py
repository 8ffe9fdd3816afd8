"""The end of a trial's output, without the rest of it. It only reads, and never waits for a trial."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tuned.disk.layout import older_part
from tuned.protocol.limits import MOST_LINE_LETTERS

if TYPE_CHECKING:
    from pathlib import Path

#: A line is looked for in so much of the end.
_TAIL_BYTES = 4096

#: A progress bar draws each of its lines over the one before.
_LINE_END = re.compile(r"[\r\n]+")


def last_line(log: Path) -> str:
    """The last line with letters, without spaces around it, cut if it is long; empty if there is none.

    A line that is longer than the end that is looked at comes without its beginning.
    """
    try:
        # A trial may have put a link or a FIFO in its place.
        file = os.open(log, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        tail = os.pread(file, _TAIL_BYTES, max(0, os.fstat(file).st_size - _TAIL_BYTES))
    except OSError:
        return ""
    finally:
        os.close(file)
    lines = map(str.strip, reversed(_LINE_END.split(tail.decode("utf-8", "replace"))))
    return next(filter(None, lines), "")[:MOST_LINE_LETTERS]


def skipped(log: Path, tail: int) -> tuple[int, int]:
    """How many bytes of the older part, and of the log itself, come before its last so many bytes."""
    older, newer = _size(older_part(log)), _size(log)
    before = max(0, older + newer - tail)
    return min(before, older), max(0, before - older)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
