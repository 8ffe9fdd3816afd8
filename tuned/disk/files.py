"""Files that outlive a crash: durable writes, careful reads, private directories and locks on them.

It must never follow a link that somebody else put there, wait on a FIFO, or show a half-written file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import time
from typing import TYPE_CHECKING, BinaryIO

from tuned.disk.users import described, group_name, user_name
from tuned.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path


class Unfit(Exception):
    """The path is not a regular file of the allowed size; the text says what it is."""


def write(path: Path, content: bytes, *, mode: int, group: int | None = None, is_synced: bool = True) -> None:
    """Replaces the file durably: after a crash it has the old content or the new one, whole.

    One that is not synced outlives each process, but a power cut may undo it or leave it empty.
    """
    scratch = temporary(path)
    try:
        _write_scratch(scratch, content, mode, group, is_synced=is_synced)
        scratch.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise
    if is_synced:
        sync_directory(path.parent)


def _write_scratch(scratch: Path, content: bytes, mode: int, group: int | None, *, is_synced: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(scratch, flags, 0o600), "wb", buffering=0) as file:
        _give_to_group(file.fileno(), group)
        # Said again, because the umask took its part of what open was told.
        os.fchmod(file.fileno(), mode)
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
        if is_synced:
            os.fsync(file.fileno())


def move(path: Path, target: Path) -> Path:
    """Renames it durably, on one file system; returns ``target``, which must not exist yet."""
    path.rename(target)
    sync_directory(target.parent)
    sync_directory(path.parent)
    return target


def temporary(path: Path) -> Path:
    """The path of the file until it is whole."""
    return path.with_name(f".{path.name}.tmp")


def remove_temporaries(directory: Path) -> None:
    """Removes unfinished files that a crash left; only the holder of the directory may."""
    for scratch in directory.glob(".*.tmp"):
        if not stat.S_ISDIR(scratch.lstat().st_mode):
            scratch.unlink()


def sync_directory(directory: Path) -> None:
    """Makes the names in it durable, as fsync of a file makes its content."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_regular(path: Path, most_bytes: int) -> BinaryIO:
    """Opens another user's file. Raises Unfit or OSError; never waits, never follows a link."""
    # Looked at before it is opened too: opening a device can do something.
    _require_regular(path.lstat(), most_bytes)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _require_regular(os.fstat(file.fileno()), most_bytes)
    except Unfit:
        file.close()
        raise
    return file


def _require_regular(status: os.stat_result, most_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unfit(f"it is {kind_of(status)}, not a regular file")
    if status.st_size > most_bytes:
        raise Unfit(f"it has {status.st_size} bytes, at most {most_bytes} are allowed")


def kind_of(status: os.stat_result) -> str:
    """The words for something that is no regular file."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "something else")


def is_being_written(file: BinaryIO, *, quiet_seconds: float) -> bool:
    """Whether someone has it open for writing: for certain if the kernel tells us, otherwise by its age.

    Until ``file`` is closed, a process that opens it for writing waits.
    """
    try:
        # The kernel sends this signal to the one they wait for. Nobody handles it, and by default it does
        # nothing; the usual one, SIGIO, would end the process.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        # Another user's file (EACCES), or a file system that cannot tell (EINVAL, ENOLCK).
        return 0 <= time.time() - os.fstat(file.fileno()).st_mtime < quiet_seconds
    return False


_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def make_directory(path: Path, mode: int, *, group: int | None = None) -> None:
    """Creates one directory with exactly this mode, whatever the umask; leaves one that is there alone."""
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _give_to_group(descriptor, group)
        found = stat.S_IMODE(os.fstat(descriptor).st_mode)
        # A set-group-ID bit that came from the parent stays; a service may not be allowed to set it again.
        if found & ~stat.S_ISGID != mode:
            os.fchmod(descriptor, mode | (found & stat.S_ISGID))
    finally:
        os.close(descriptor)


def require_directory(path: Path, *, closed_to: int) -> os.stat_result:
    """Raises InvalidInput if we cannot use it, or if one of these mode bits (such as S_IWOTH) is set."""
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        found, expected = "something that is no directory", "a directory"
        raise InvalidInput(Problem(file=str(path), key="", found=found, expected=expected))
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        found = (
            f"mode {stat.S_IMODE(status.st_mode):04o}, owner {user_name(status.st_uid)}, "
            f"group {group_name(status.st_gid)}"
        )
        expected = f"a directory that {described(os.geteuid())} may read and write"
        raise InvalidInput(Problem(file=str(path), key="", found=found, expected=expected))
    if status.st_mode & closed_to:
        found = f"mode {stat.S_IMODE(status.st_mode):04o}: who may write there runs code as the daemon's user"
        who = "nobody else" if closed_to & stat.S_IWGRP else "nobody outside of its group"
        remedy = "chmod go-w" if closed_to & stat.S_IWGRP else "chmod o-w"
        expected = f"a directory that {who} may write to ({remedy} {path})"
        raise InvalidInput(Problem(file=str(path), key="", found=found, expected=expected))
    return status


def lock(descriptor: int) -> bool:
    """Takes the exclusive lock that lasts as long as the descriptor; False if another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_directory(path: Path) -> int | None:
    """The descriptor of the directory, which is locked until it is closed; None if another process has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _give_to_group(descriptor: int, group: int | None) -> None:
    if group is not None and os.fstat(descriptor).st_gid != group:
        # A daemon outside of the group cannot give anything to it: the file keeps the daemon's own group.
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, -1, group)


def open_memory(content: bytes) -> FileIO:
    """A file in memory alone that holds this, and may still be sealed."""
    file = os.fdopen(os.memfd_create("tuned", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb", buffering=0)
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
    return file
