"""The file of a trial's output: written while the trial prints, and read, also while it still prints.

It must never hurt the trial, and never hold up the event loop or the trial's end, whatever the disk does: one
thread writes for all trials, and a reader waits for it within bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import structlog
from asyncinotify import Inotify, Mask

from tuned.disk.layout import older_part
from tuned.disk.log_tail import skipped
from tuned.disk.outage import OF_THE_DISK, DiskOutage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()

T = TypeVar("T")

#: A log that grows beyond this is set aside and begun anew.
LOG_BYTES = 16 * 2**20

#: If more output than this waits for the disk, no more is read from the trial for the time being.
WAITING_BYTES = 2**20

#: Output is gathered for so long before it is written: many lines are one write.
GATHER_SECONDS = 0.02

#: A write that takes longer does not hold up the trial: the oldest output that waits is left out.
STALL_SECONDS = 2.0

#: How long a reader waits until the output of a trial that has ended is in the file.
WRITTEN_SECONDS = 5.0

CHUNK_BYTES = 64 * 1024

#: A thread of its own: slow logs leave the event loop's other threads to those who need them.
_writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trial-log")

#: Belongs to that thread: a disk that is full is so for all trials.
_outage = DiskOutage("output not kept")


class TrialLog:
    """The newest 16 to 32 MiB of a trial's output. Belongs to the event loop; ``_File`` is the thread's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _File(path)
        #: The trial's fields, for the thread's own log records.
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._left_out_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        #: The write under way, and when it was handed over.
        self._writing: asyncio.Future[None] | None = None
        self._began = 0.0

    def open(self) -> None:
        """Before the first write. Returns at once."""
        self._submit(self._file.open)

    def has_room(self) -> bool:
        """False: the disk does not keep up. True again at the latest after STALL_SECONDS."""
        return self._waiting_bytes < WAITING_BYTES or self._is_stalled()

    def write(self, chunk: bytes) -> None:
        """Returns at once."""
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)
        while self._waiting_bytes > WAITING_BYTES and self._is_stalled():
            oldest = self._waiting.popleft()
            self._waiting_bytes -= len(oldest)
            self._left_out_bytes += len(oldest)
        if self._timer is None:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._hand_over)

    def close(self) -> None:
        """After the last write. Returns at once: ``read`` waits until all of the output is in the file."""
        if self._timer is not None:
            self._timer.cancel()
        self._submit(self._file.end, self._take_waiting())

    def _is_stalled(self) -> bool:
        return self._writing is not None and self._loop.time() - self._began > STALL_SECONDS

    def _hand_over(self) -> None:
        self._timer = None
        if self._writing is None and self._waiting:
            self._began = self._loop.time()
            self._writing = self._submit(self._file.write, self._take_waiting())
            self._writing.add_done_callback(self._written)

    def _written(self, _: asyncio.Future[None]) -> None:
        self._writing = None
        if self._timer is None:
            # More has been gathered while it was written.
            self._hand_over()

    def _take_waiting(self) -> bytes:
        note = b""
        if self._left_out_bytes:
            error = f"the disk is too slow: {self._left_out_bytes} bytes left out"
            _log.warning("output not kept", file=str(self._path), error=error)
            note = f"\n[tuned: {error}]\n".encode()
        taken = note + b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = self._left_out_bytes = 0
        return taken

    def _submit(self, work: Callable[..., None], *arguments: object) -> asyncio.Future[None]:
        return self._loop.run_in_executor(_writer, self._context.run, work, *arguments)


class _File:
    """The file itself. Belongs to the writer's thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._size = 0

    def open(self) -> None:
        with self._survived():
            self._open()

    def write(self, output: bytes) -> None:
        left = memoryview(output)
        with self._survived():
            while left and self._descriptor is not None:
                written = os.write(self._descriptor, left[:CHUNK_BYTES])
                left = left[written:]
                self._size += written
                if self._size > LOG_BYTES:
                    self._close()
                    self._path.replace(older_part(self._path))
                    self._open()

    def end(self, output: bytes) -> None:
        self.write(output)
        self._close()

    def _open(self) -> None:
        # A trial may have put a link or a FIFO in its place.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._descriptor = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._descriptor).st_size

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextlib.contextmanager
    def _survived(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Such as a full disk: the trial is worth more than its log.
            if error.errno in OF_THE_DISK:
                _outage.note(error, str(self._path))
            else:
                _log.warning("output not kept", file=str(self._path), error=str(error))
            self._close()


_GROWS = Mask.MODIFY | Mask.CREATE | Mask.MOVED_TO


async def all_written() -> None:
    """Waits until the output of all trials that have ended is in their files; not long if the disk hangs."""
    # The thread takes one piece of work after the other: once it takes this one, it has done those before.
    reached = asyncio.get_running_loop().run_in_executor(_writer, threading.get_ident)
    await asyncio.wait([reached], timeout=WRITTEN_SECONDS)


async def read(
    log: Path,
    running: asyncio.Task[Any] | None,
    written: Callable[[], Awaitable[None]] = all_written,
    tail: int | None = None,
) -> AsyncGenerator[bytes, None]:
    """The log from its beginning; with ``running``, also the output that is added until that task ends.

    With ``tail``, it begins so many bytes before its present end.
    ``written`` waits until the output of trials that have ended is in their files. Raises FileNotFoundError
    at the first chunk if nothing was ever printed to it.
    """
    await written()
    of_older, of_newer = (0, 0) if tail is None else await _in_thread(skipped, log, tail)
    older = older_part(log)
    with contextlib.suppress(FileNotFoundError), await _in_thread(_open_to_read, older, of_older) as old:
        while chunk := await _in_thread(old.read, CHUNK_BYTES):
            yield chunk
    with Inotify() as inotify:
        # Watched before the first read: a write after that read is not missed.
        inotify.add_watch(log.parent, _GROWS)
        file = await _in_thread(_open_to_read, log, of_newer)
        try:
            while True:
                # Looked at before the read: output from before the trial's end is read after its end.
                is_over = running is None or running.done()
                if is_over:
                    await written()
                while chunk := await _in_thread(file.read, CHUNK_BYTES):
                    yield chunk
                if await _in_thread(_was_rotated, file, log):
                    file.close()
                    file = await _in_thread(_open_to_read, log)
                elif is_over:
                    return
                else:
                    await _changed(inotify, running)
        finally:
            file.close()


async def _in_thread(call: Callable[..., T], *arguments: object) -> T:
    """Cancelled: waits until the call has ended, because its caller then closes the file."""
    calling = asyncio.ensure_future(asyncio.to_thread(call, *arguments))
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        await asyncio.wait([calling])
        raise


def _open_to_read(path: Path, offset: int = 0) -> BinaryIO:
    # A FIFO that a trial put in its place has no content, and is not waited for.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        # A link that a trial put there could lead to what only our own user may read.
        raise FileNotFoundError(errno.ENOENT, "a link, and not the output of a trial", str(path)) from None
    if offset and file.seekable():
        file.seek(offset)
    return file


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
