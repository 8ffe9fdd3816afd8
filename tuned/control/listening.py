"""The socket file: it takes over a dead daemon's, refuses a living one's, and removes only its own."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

from tuned.disk import files
from tuned.errors import Conflict, InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


#: Connects that wait to be accepted.
_BACKLOG = 128


@contextlib.contextmanager
def listening(path: Path, mode: int) -> Iterator[socket.socket]:
    """A socket that listens at ``path`` with exactly this file mode; not blocking.

    Raises Conflict if another daemon answers there, InvalidInput if nobody can listen there.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        )
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            stack.enter_context(_only_one(path))
            _remove_stale(path)
            _bind(listener, path, mode)
        except OSError as error:
            raise _unusable(path, error) from error
        stack.callback(_remove_own, path, path.lstat())
        yield listener


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Held as long as we listen: of two daemons that find the same stale socket, one replaces it."""
    # The lock file stays: to remove it could take the lock away from another daemon that just got it.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path.with_name(f"{path.name}.lock"), flags, 0o600)
    try:
        if not files.lock(descriptor):
            raise _occupied(path)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise _invalid(path, found="a file that is no socket", expected="a free path, or a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            # A daemon that hangs has its backlog full: it is there, and this must not wait for it.
            probe.setblocking(False)
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise _occupied(path)


def _bind(listener: socket.socket, path: Path, mode: int) -> None:
    # The umask, and not chmod afterwards: there is no time at which more users could connect.
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(_BACKLOG)


def _remove_own(path: Path, bound: os.stat_result) -> None:
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(path.lstat(), bound):
            path.unlink()


def _occupied(path: Path) -> Conflict:
    remedy = "stop it, or choose another path with --socket"
    return Conflict(f"cannot listen on {path}: another daemon answers there; {remedy}")


def _unusable(path: Path, error: OSError) -> InvalidInput:
    found = error.strerror or str(error)
    expected = "a path of at most 107 bytes in a directory in which the daemon may create files"
    return _invalid(path, found=found, expected=expected)


def _invalid(path: Path, *, found: str, expected: str) -> InvalidInput:
    return InvalidInput(Problem(file=str(path), key="control.socket", found=found, expected=expected))
