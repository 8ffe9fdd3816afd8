"""Messages as lines on a stream socket, for the daemon and for its keeper.

It must never wait for the other side to read: a sender that could send too much looks at ``is_clogged``.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import socket

#: Far more than an ending with all that a trial may note on itself.
LINE_BYTES = 256 * 2**20

#: More of the other side's unread messages than a flood of reports is to add to.
CLOGGED_BYTES = 2**20


class Wire:
    """One end of the socket. Belongs to the event loop's thread."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def on(cls, connected: socket.socket) -> Self:
        return cls(*await asyncio.open_unix_connection(sock=connected, limit=LINE_BYTES))

    @property
    def is_clogged(self) -> bool:
        return self._writer.transport.get_write_buffer_size() > CLOGGED_BYTES

    def send(self, line: bytes) -> None:
        """Returns at once. To somebody who is gone nothing is sent."""
        if not self._writer.is_closing():
            self._writer.write(line)

    async def receive(self) -> bytes | None:
        """The next line; None once the other side is gone."""
        with contextlib.suppress(ConnectionError):
            line = await self._reader.readline()
            # A line without its end is one that the other side did not live to finish.
            return line if line.endswith(b"\n") else None
        return None

    def close(self) -> None:
        self._writer.close()
