"""Removes directories of trials and points, so that each is there whole or is gone, whenever this ends.

A directory is set aside by one rename within its file system, and then emptied piece by piece. The next start
goes on with what an earlier one left. It must never follow a link, or need more for a deep tree.
"""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuned.disk import files
from tuned.disk.holdings import OPEN, names_in, place, room
from tuned.domain.retention import Part

if TYPE_CHECKING:
    from tuned.disk.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A piece that is gone, or cannot be removed."""

    freed_bytes: int = 0
    #: Why not, for people; empty if it is gone.
    problem: str = ""


def set_aside(
    layout: Layout, part: Part, uid: str, folder: str, names: Iterable[str]
) -> Generator[str, None, None]:
    """Takes directories away from a study; yields the names of those that were there. Work for ``step``.

    ``folder`` is study_folder(). Raises OSError if this user may not.
    """
    parent = place(layout, part, uid, folder)
    aside = layout.aside[part is Part.CHECKPOINTS]
    files.make_directory(aside, 0o700)
    for name in names:
        try:
            (parent / name).rename(aside / _new_name())
        except FileNotFoundError:
            continue
        yield name
    if part is Part.OUTPUT:
        # If it is not empty, it stays. The directory of all checkpoints stays anyway: by it this host knows
        # that it took part, if the study is deleted later.
        with contextlib.suppress(OSError):
            parent.rmdir()


def emptied(layout: Layout) -> Generator[Removed, None, None]:
    """Removes all that was set aside, now or before a crash. Work for ``holdings.step``."""
    for aside in layout.aside:
        try:
            top = os.open(aside, OPEN)
        except OSError:
            continue
        try:
            yield from _emptied(top, aside)
        finally:
            os.close(top)


def remove(directory: Path) -> None:
    """Removes a directory with all it has, where it lies, so that nobody may still need a part of it.

    Raises OSError for the first thing that cannot be removed, after all others have gone.
    """
    top = os.open(directory, OPEN)
    try:
        problems = [piece.problem for piece in _emptied(top, directory) if piece.problem]
    finally:
        os.close(top)
    if problems:
        raise OSError(problems[0])
    directory.rmdir()


def _emptied(top: int, aside: Path) -> Generator[Removed, None, None]:
    failed: set[str] = set()
    # Each round brings up the directories that were found in those of the last.
    while names := [name for name in names_in(top) if name not in failed]:
        for name in names:
            try:
                yield from _removed(top, name)
            except OSError as error:
                failed.add(name)
                yield Removed(problem=f"{aside / name}: {error.strerror or error}")


def _removed(top: int, name: str) -> Generator[Removed, None, None]:
    status = os.stat(name, dir_fd=top, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        _let_in(top, name, status)
        descriptor = os.open(name, OPEN, dir_fd=top)
        try:
            yield from _content_removed(top, descriptor)
        finally:
            os.close(descriptor)
        os.rmdir(name, dir_fd=top)
        yield Removed(freed_bytes=room(status))
    else:
        os.unlink(name, dir_fd=top)
        yield _unlinked(status)


def _content_removed(top: int, directory: int) -> Generator[Removed, None, None]:
    """Removes its files and brings its directories up, so that no tree is too deep."""
    problem: OSError | None = None
    for name in names_in(directory):
        try:
            yield _piece_removed(top, directory, name)
        except OSError as error:
            problem = problem or error
    if problem is not None:
        raise problem


def _piece_removed(top: int, directory: int, name: str) -> Removed:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        # To move a directory is to write into it.
        _let_in(directory, name, status)
        os.rename(name, _new_name(), src_dir_fd=directory, dst_dir_fd=top)
        return Removed()
    os.unlink(name, dir_fd=directory)
    return _unlinked(status)


def _unlinked(status: os.stat_result) -> Removed:
    # The room of a file is free after its last link.
    return Removed(freed_bytes=room(status) if status.st_nlink == 1 else 0)


def _let_in(parent: int, name: str, status: os.stat_result) -> None:
    """Gives us the rights in our own directory that a trial took away."""
    if status.st_mode & stat.S_IRWXU == stat.S_IRWXU:
        return
    descriptor = os.open(name, os.O_PATH | OPEN, dir_fd=parent)
    try:
        # By its descriptor, because chmod by name would follow a link that comes in between.
        # Without its set-group-ID bit, which a service may not be allowed to set.
        Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IRWXU)
    finally:
        os.close(descriptor)


def _new_name() -> str:
    return uuid.uuid4().hex
