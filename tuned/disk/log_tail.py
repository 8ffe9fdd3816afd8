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

#: So many bytes of a line are left out if its beginning is cut off; of a longer one, the rest is kept.
_MOST_LOST = 1024

#: The bytes of a letter in UTF-8 but its first one.
_INNER_BYTES = bytes(range(0x80, 0xC0))


def last_line(log: Path) -> str:
    """The last line with letters, without spaces around it, cut if it is long; empty if there is none.

    A line that is longer than the end that is looked at comes without its beginning.
    """
    tail = _end_of_file(log, _TAIL_BYTES)
    lines = map(str.strip, reversed(_LINE_END.split(tail.decode("utf-8", "replace"))))
    return next(filter(None, lines), "")[:MOST_LINE_LETTERS]


def end_of(log: Path, most: int) -> bytes:
    """At most so many of its last bytes, more than a few; nothing without a log.

    If it is cut, it begins with a line, or in the middle of a long one with a letter.
    """
    newer = _end_of_file(log, most + 1)
    older = _end_of_file(older_part(log), most + 1 - len(newer)) if len(newer) <= most else b""
    end = older + newer
    if len(end) <= most:
        return end
    line_end = end.find(b"\n", 0, _MOST_LOST)
    return end[line_end + 1 :] if line_end >= 0 else end[1:4].lstrip(_INNER_BYTES) + end[4:]


def _end_of_file(path: Path, most: int) -> bytes:
    try:
        # A trial may have put a link or a FIFO in its place.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.pread(file, most, max(0, os.fstat(file).st_size - most))
    except OSError:
        return b""
    finally:
        os.close(file)


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
