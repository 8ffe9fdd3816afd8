"""The directories of trials and points that lie below the state directory, and the room that each takes.

It measures in steps, because a disk may be slow and a study large. It must never change or open a file, or
follow a link.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tuned.domain.retention import Holding, Part

if TYPE_CHECKING:
    from tuned.disk.layout import Layout

T = TypeVar("T")

#: A directory, and never one behind a link.
OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: How long a thread works on end.
STEP_SECONDS = 0.05

#: st_blocks counts these, whatever the file system's own blocks are.
_BLOCK_BYTES = 512


def step(work: Iterator[T | None], seconds: float = STEP_SECONDS) -> tuple[list[T], bool]:
    """Lets work go on for so long, or to its end. Returns what it yielded, and whether it has ended.

    Work yields None if it has nothing to say, but may be interrupted.
    """
    found: list[T] = []
    end = time.monotonic() + seconds
    for each in work:
        if each is not None:
            found.append(each)
        if time.monotonic() > end:
            return found, False
    return found, True


def place(layout: Layout, part: Part, uid: str, folder: str) -> Path:
    """The directory in which a study's trials or points have theirs; ``folder`` is study_folder()."""
    return layout.trials / folder if part is Part.OUTPUT else layout.points / uid


def measured(layout: Layout, folders: Mapping[str, str]) -> Iterator[Holding | None]:
    """All directories of trials and points of these studies, by uid with their folders. Work for ``step``.

    A directory that goes or cannot be read meanwhile counts as far as it could be read.
    """
    for uid, folder in folders.items():
        for part in Part:
            parent = place(layout, part, uid, folder)
            for name in names(parent):
                yield from _measured(parent / name, uid, part)


def names(directory: Path) -> list[str]:
    """Everything in it, in no order; nothing if it is not there, or a link."""
    try:
        descriptor = os.open(directory, OPEN)
    except OSError:
        return []
    try:
        return names_in(descriptor)
    finally:
        os.close(descriptor)


def names_in(descriptor: int) -> list[str]:
    """Everything in an open directory. Raises OSError."""
    with os.scandir(descriptor) as found:
        return [entry.name for entry in found]


def room(status: os.stat_result) -> int:
    """The bytes that a file or directory takes on the disk; each of several links has its share."""
    links = 1 if stat.S_ISDIR(status.st_mode) else max(1, status.st_nlink)
    return status.st_blocks * _BLOCK_BYTES // links


def _measured(top: Path, uid: str, part: Part) -> Iterator[Holding | None]:
    try:
        status = top.lstat()
    except OSError:
        return
    size, modified = room(status), status.st_mtime
    left = [top] if stat.S_ISDIR(status.st_mode) else []
    while left:
        for path, found in _entries(left.pop()):
            yield None
            size += room(found)
            modified = max(modified, found.st_mtime)
            if stat.S_ISDIR(found.st_mode):
                left.append(path)
    yield Holding(uid=uid, part=part, name=top.name, size_bytes=size, modified=modified)


def _entries(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        descriptor = os.open(directory, OPEN)
    except OSError:
        return
    try:
        with os.scandir(descriptor) as found:
            for entry in found:
                try:
                    yield directory / entry.name, entry.stat(follow_symlinks=False)
                except OSError:
                    continue
    except OSError:
        return
    finally:
        os.close(descriptor)
