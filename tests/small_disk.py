"""A file system that is small enough to be filled. Only the test and what it starts see it."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


class SmallDisk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Until nothing more can be written."""
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(64 * 1024)):
                    pass
            except OSError:
                return

    def clear(self) -> None:
        self._ballast.unlink()


@contextmanager
def small_disk(*, megabytes: int, inodes: int = 0) -> Iterator[SmallDisk]:
    """Mounted in a namespace of this process's own, which it keeps: however it ends, nothing is left mounted.

    Without ``inodes`` only its size is limited. Needs root.
    """
    _call(_libc.unshare, _CLONE_NEWNS)
    _call(_libc.mount, None, b"/", None, _MS_REC_PRIVATE, None)
    with tempfile.TemporaryDirectory(prefix="tuned-disk-") as name:
        size = f"size={megabytes}m,nr_inodes={inodes},mode=0755"
        _call(_libc.mount, b"tmpfs", name.encode(), b"tmpfs", 0, size.encode())
        try:
            yield SmallDisk(Path(name))
        finally:
            _call(_libc.umount2, name.encode(), _MNT_DETACH)


def _call(function: ctypes._NamedFuncPointer, *arguments: object) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
