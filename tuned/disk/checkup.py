"""Faults of this host that can be seen without asking anybody: settings, directories, the outbox.

It looks, and when told to it takes permissions from this user's own directories. It must change nothing else.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuned.disk.arrivals import Folder
from tuned.disk.layout import Layout
from tuned.domain.resources import rounded_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tuned.config.settings import Settings
    from tuned.protocol.fleet import FindingView


#: A result is told within moments; one that lies for so long waits for something.
WAITING_SECONDS = 30.0

#: A file system with less left is told of.
FULL = 0.9

_OTHERS = stat.S_IWOTH

_GROUP_AND_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The room on a file system."""

    free_bytes: int
    size_bytes: int


def space(directory: Path) -> Space | None:
    """Of a directory's file system, for a user without special rights; None if it does not say."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return Space(free_bytes=found.f_bavail * found.f_frsize, size_bytes=found.f_blocks * found.f_frsize)


def nearly_full(directory: Path) -> str:
    """A sentence for people if little is left of its file system; empty otherwise."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return ""
    # As df has it: the part that only root may use counts for neither.
    room = _share(found.f_blocks - found.f_bfree, found.f_bavail)
    inodes = _share(found.f_files - found.f_ffree, found.f_favail)
    if max(room, inodes) < FULL:
        return ""
    left = rounded_size(found.f_bavail * found.f_frsize)
    state = f"is {room:.0%} full, {left} are left"
    if inodes > room:
        state = f"has used {inodes:.0%} of its inodes, {found.f_favail} are left"
    return (
        f"the file system of {directory} {state}: `tunectl clean --dry-run` shows what may go, and [keep] in "
        "tuned.toml says what stays"
    )


def _share(used: int, free: int) -> float:
    return used / (used + free) if used else 0.0


def check_host(settings: Settings) -> list[FindingView]:
    """Passes over directories that this user may not look into."""
    return [
        *_warnings(settings),
        *_open_directories(settings),
        *_outbox(Layout(path=settings.state_dir).outbox),
    ]


def close_directories(settings: Settings) -> list[str]:
    """Takes the write permission of others from directories of this user; returns what was done."""
    done = []
    for path, mode, closed_to in _too_open(settings):
        if path.lstat().st_uid == os.geteuid():
            path.chmod(mode & ~closed_to)
            done.append(f"{path}: mode {mode & ~closed_to:04o}, was {mode:04o}")
    return done


def _warnings(settings: Settings) -> Iterator[FindingView]:
    for warning in settings.warnings:
        yield {
            "kind": "fault",
            "code": "setting",
            "what": warning,
            "why": "a point may be evaluated twice at once, or be given up while it still runs",
            "remedy": "change the setting in the configuration, and restart the daemon",
            "is_fixable": False,
        }


def _open_directories(settings: Settings) -> Iterator[FindingView]:
    for path, mode, closed_to in _too_open(settings):
        yield {
            "kind": "fault",
            "code": "permissions",
            "what": f"{path} has mode {mode:04o}: others may write to it",
            "why": "who may write there runs code as the daemon's user, and the daemon refuses to start",
            "remedy": f"chmod {mode & ~closed_to:04o} {path}",
            "is_fixable": path.lstat().st_uid == os.geteuid(),
        }


def _too_open(settings: Settings) -> Iterator[tuple[Path, int, int]]:
    """Directories with their modes, and which bits they must not have."""
    spool, state = settings.spool, Layout(path=settings.state_dir)
    wanted = [(spool, _OTHERS), (state.path, _OTHERS), (state.outbox, _GROUP_AND_OTHERS)]
    wanted += [(spool / folder, _GROUP_AND_OTHERS) for folder in Folder]
    for path, closed_to in wanted:
        try:
            status = path.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode) and status.st_mode & closed_to:
            yield path, stat.S_IMODE(status.st_mode), closed_to


def _outbox(directory: Path) -> Iterator[FindingView]:
    names = _names(directory)
    if corrupt := [name for name in names if name.endswith(".corrupt")]:
        yield {
            "kind": "fault",
            "code": "corrupt-results",
            "what": f"results set aside that cannot be read: {_some(corrupt)} in {directory}",
            "why": "what these evaluations found is not in the database; their points are evaluated again",
            "remedy": "look into the files; keep or remove them, the daemon does not look at them any more",
            "is_fixable": False,
        }
    if waiting := [
        name for name in names if name.endswith(".json") and _age(directory / name) > WAITING_SECONDS
    ]:
        yield {
            "kind": "fault",
            "code": "waiting-results",
            "what": f"results that wait to be told to the database: {_some(waiting)} in {directory}",
            "why": "they are safe on this disk, but no other host knows them, and their trials are RUNNING",
            "remedy": "bring the database back; if it is there, the daemon's log says why it refuses them",
            "is_fixable": False,
        }


def _names(directory: Path) -> list[str]:
    try:
        return sorted(path.name for path in directory.iterdir())
    except OSError:
        return []


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)}, the oldest is {names[0]}"
