"""The output of a process on its way to its readers: pipes that the event loop reads.

A pipe must never wait for a process that escaped and holds it open, or hold up the loop in a flood.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from tuned.trial.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator


CHUNK_BYTES = 64 * 1024

#: How much of the end of standard error a failure's message has.
TAIL_CHARACTERS = 300

#: How long a reader that has no room is left alone.
PAUSE_SECONDS = 0.005


class Pipe:
    """A pipe, read by the event loop for as long as the block lasts, and then to its end.

    At the block's end all writers are gone, and their output lies in the pipe. Only a process that escaped
    can hold it open: nobody waits for that. Without ``has_room`` nothing is read until the block's end.
    """

    def __init__(self, *readers: Callable[[bytes], object], has_room: Callable[[], bool]) -> None:
        self._readers = readers
        self._has_room = has_room
        self._resuming: asyncio.TimerHandle | None = None
        self._reader = -1
        #: The end that the process is given a copy of.
        self.writer = -1

    def __enter__(self) -> Self:
        self._reader, self.writer = self._open()
        os.set_blocking(self._reader, False)
        self._resume()
        return self

    def close_writer(self) -> None:
        """Once the process has its copy: while we hold ours, nobody sees the end."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def __exit__(self, *_: object) -> None:
        self.close_writer()
        self._drain(lambda: True)
        self._close()

    def catch_up(self) -> None:
        """Reads what has been written so far, as far as there is room."""
        self._drain(self._has_room)

    def _open(self) -> tuple[int, int]:
        """The reading end and the writing one."""
        return os.pipe()

    def _most_unread(self) -> int:
        return fcntl.fcntl(self._reader, fcntl.F_GETPIPE_SZ)

    def _resume(self) -> None:
        asyncio.get_running_loop().add_reader(self._reader, self._read_if_room)

    def _read_if_room(self) -> None:
        if self._has_room():
            self._read()
        else:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._reader)
            self._resuming = loop.call_later(PAUSE_SECONDS, self._resume)

    def _drain(self, has_room: Callable[[], bool]) -> None:
        left = self._most_unread() if self._reader >= 0 else 0
        while left > 0 and has_room() and (size := self._read()):
            left -= size

    def _read(self) -> int:
        # One chunk at a time: a flood takes its turn with everything else.
        try:
            chunk = os.read(self._reader, CHUNK_BYTES)
        except BlockingIOError:
            return 0
        except ConnectionResetError:
            # The other end of a socket is gone, with something unread that we had said.
            chunk = b""
        if not chunk:
            self._close()
        for reader in self._readers if chunk else ():
            reader(chunk)
        return len(chunk)

    def _close(self) -> None:
        if self._reader >= 0:
            if self._resuming is not None:
                self._resuming.cancel()
            asyncio.get_running_loop().remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1


class LineReader:
    """Hands on the lines of one stream as they end, and at the block's end a last one that nothing ended."""

    def __init__(self, on_line: Callable[[bytes], object] | None) -> None:
        self._lines = Lines()
        self._on_line = on_line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._on_line is not None:
            for line in self._lines.rest().lines:
                self._on_line(line)

    def feed(self, chunk: bytes) -> None:
        if self._on_line is not None:
            for line in self._lines.feed(chunk).lines:
                self._on_line(line)


class Tail:
    """The end of standard error, at which a person looks first."""

    def __init__(self) -> None:
        self._end = b""

    def feed(self, chunk: bytes) -> None:
        self._end = (self._end + chunk)[-4 * TAIL_CHARACTERS :]

    def after(self, message: str) -> str:
        lines = list(self._lines())
        return f"{message}: {lines[-1][-TAIL_CHARACTERS:]}" if lines else message

    def _lines(self) -> Iterator[str]:
        for line in self._end.decode("utf-8", "replace").splitlines():
            if line.strip():
                yield line.strip()
