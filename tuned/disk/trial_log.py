"""Reads what a trial printed, also while it still prints."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import structlog
from asyncinotify import Inotify, Mask

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()


#: A log that grows beyond this is set aside as ``.1`` and begun anew.
LOG_BYTES = 16 * 2**20


def rotated(log: Path) -> Path:
    """Where the older part of a long log lies."""
    return log.with_name(f"{log.name}.1")


class TrialLog:
    """The file of what a trial prints: the newest 16 to 32 MiB of it. Never hurts the trial."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._size = 0
        with self._survived():
            self._open()

    def write(self, chunk: bytes) -> None:
        if self._descriptor is None:
            return
        with self._survived():
            self._size += os.write(self._descriptor, chunk)
            if self._size > LOG_BYTES:
                self.close()
                self._path.replace(rotated(self._path))
                self._open()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    @contextlib.contextmanager
    def _survived(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Such as a full disk: the trial is worth more than its log.
            _log.warning("output not kept", file=str(self._path), error=str(error))
            self.close()


CHUNK_BYTES = 64 * 1024


_GROWS = Mask.MODIFY | Mask.CREATE | Mask.MOVED_TO


async def read(log: Path, running: asyncio.Task[Any] | None) -> AsyncGenerator[bytes, None]:
    """The log from its beginning; with ``running``, what is added until that task ends.

    Raises FileNotFoundError at the first chunk if nothing was ever printed to it.
    """
    if rotated(log).exists():
        with rotated(log).open("rb") as old:
            for chunk in iter(lambda: old.read(CHUNK_BYTES), b""):
                yield chunk
    with Inotify() as inotify:
        # Watched before the first read: nothing that is written after that read is missed.
        inotify.add_watch(log.parent, _GROWS)
        file = log.open("rb")
        try:
            while True:
                # Looked at before the read: what was written before the trial ended is read after its end.
                is_over = running is None or running.done()
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
                if _was_rotated(file, log):
                    file.close()
                    file = log.open("rb")
                elif is_over:
                    return
                else:
                    await _changed(inotify, running)
        finally:
            file.close()


def _was_rotated(file: BinaryIO, log: Path) -> bool:
    try:
        return not os.path.samestat(os.fstat(file.fileno()), log.stat())
    except FileNotFoundError:
        # Between the rename of the old part and the first line of the new one.
        return False


async def _changed(inotify: Inotify, running: asyncio.Task[Any] | None) -> None:
    change = asyncio.ensure_future(inotify.get())
    try:
        await asyncio.wait([change, *([running] if running else [])], return_when=asyncio.FIRST_COMPLETED)
    finally:
        change.cancel()
        await asyncio.wait([change])
