"""Reads what a trial printed, also while it still prints."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, BinaryIO

from asyncinotify import Inotify, Mask

from tuned.output import rotated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

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
