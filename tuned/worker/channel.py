"""The socket on which a Python objective tells its value and its reports: JSON, one object a line.

It is a descriptor of its own, so that nothing that is printed counts, and a standard output that is replaced
or closed loses nothing. Two things are asked on it: how the study stands, and whether the trial is to end. It
never uses Python's own sockets, because a module may have given those a timeout or replaced them.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import Any, TypedDict

#: The descriptor of a program that was begun with one, such as ``tuned.worker.objective``.
DESCRIPTOR = 3

_CHUNK_BYTES = 64 * 1024


class KnownTrial(TypedDict):
    """One of the best trials of a study."""

    number: int
    values: list[float]
    params: dict[str, Any]
    user_attrs: dict[str, Any]
    constraints: dict[str, float]


class StudyFacts(TypedDict):
    """The answer to one question: a study, as it stands when a trial asks."""

    user_attrs: dict[str, Any]
    #: One trial, or the front. Empty while no trial with a value is feasible.
    best: list[KnownTrial]


#: The question how the study stands.
ASK = {"ask": "study"}

#: The question whether the trial is to end, by all that it has reported.
ASK_PRUNING = {"ask": "pruning"}


class Channel:
    """The trial's end of the socket. Any thread may use it."""

    def __init__(self, descriptor: int) -> None:
        # Programs that the objective starts must not hold it.
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        self._turn = threading.Lock()

    def tell(self, report: Mapping[str, Any]) -> None:
        """Raises OSError if nobody reads any more."""
        with self._turn:
            self._send(report)

    def ask(self) -> StudyFacts:
        """Waits for the answer. Raises OSError if nobody gives one, RuntimeError if there is none."""
        answer: StudyFacts | None = self._answer(ASK)
        if answer is None:
            raise RuntimeError("the daemon cannot tell how the study stands: see its log")
        return answer

    def ask_pruning(self) -> bool | None:
        """Whether the trial is to end; None if no rule looks at it. Raises OSError if nobody answers."""
        answer: bool | None = self._answer(ASK_PRUNING)
        return answer

    def _answer(self, question: Mapping[str, str]) -> Any:
        with self._turn:
            self._send(question)
            return json.loads(self._line())

    def _send(self, report: Mapping[str, Any]) -> None:
        left = memoryview(f"{json.dumps(report)}\n".encode())
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            chunk = os.read(self._descriptor, _CHUNK_BYTES)
            if not chunk:
                raise ConnectionError("the daemon is gone")
            line += chunk
        return line
