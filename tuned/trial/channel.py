"""The daemon's end of the socket on which a Python objective reports, and gets its questions answered.

It must never wait for a process that escaped and holds the socket open, or hold up the loop in a flood.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tuned.trial.pipes import Pipe
from tuned.worker.channel import ASK, StudyFacts

if TYPE_CHECKING:
    from tuned.trial.objective_reports import ObjectiveReports

#: Answers a question that has this name. It may wait for the database, and must not raise.
Answer = Callable[[str], Awaitable[object]]

#: More than the kernel keeps of what nobody has read yet.
_MOST_UNREAD_BYTES = 2**20


async def nothing_known(question: str) -> StudyFacts | None:
    """The answers where there is no study."""
    return {"user_attrs": {}, "best": []} if question == ASK["ask"] else None


class Channel(Pipe):
    """A pipe that goes both ways. The objective waits for an answer, so there is one at a time."""

    def __init__(self, reports: ObjectiveReports, answer: Answer) -> None:
        super().__init__(self._take, has_room=lambda: True)
        self._reports = reports
        self._answer = answer
        self._answering: asyncio.Task[None] | None = None
        self._is_over = False

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        if self._answering is not None:
            self._answering.cancel()
        super().__exit__()

    def _open(self) -> tuple[int, int]:
        ours, theirs = socket.socketpair()
        return ours.detach(), theirs.detach()

    def _most_unread(self) -> int:
        return _MOST_UNREAD_BYTES

    def _take(self, chunk: bytes) -> None:
        self._reports.feed(chunk)
        is_free = self._answering is None or self._answering.done()
        if self._reports.question is not None and is_free and not self._is_over:
            self._answering = asyncio.ensure_future(self._reply())

    async def _reply(self) -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._reader)) as ours:
            ours.setblocking(False)
            # It may ask again as soon as it has read the answer.
            while (question := self._reports.question) is not None:
                self._reports.question = None
                answer = json.dumps(await self._answer(question)).encode() + b"\n"
                await asyncio.get_running_loop().sock_sendall(ours, answer)
