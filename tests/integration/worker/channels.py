"""The trial's end of a channel, and ours, which says what came and answers what is asked."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tuned.domain.space import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Value,
    document,
)
from tuned.worker.channel import Channel
from tuned.worker.declared import Declared
from tuned.worker.study import Definition
from tuned.worker.trial import WorkerTrial

SPACE: dict[str, Parameter] = {
    "x": IntParameter(name="x", low=0, high=9),
    "rate": FloatParameter(name="rate", low=0.001, high=1.0, log=True),
    "share": FloatParameter(name="share", low=0.0, high=1.0, step=0.25),
    "kind": CategoricalParameter(name="kind", choices=("a", True)),
}

#: Of a parameter that the trial does not have.
MOMENTUM = Declared(document(FloatParameter(name="momentum", low=0.0, high=0.9)), 'kind = "a"')

VALUES: dict[str, Value] = {"x": 3, "rate": 0.5, "share": 0.75, "kind": True}


@dataclass(frozen=True)
class Ends:
    """A channel, and the other end of its socket."""

    channel: Channel
    ours: socket.socket
    theirs: socket.socket

    def told(self) -> list[dict[str, Any]]:
        """All that was told since the last look."""
        self.ours.setblocking(False)
        try:
            return [json.loads(line) for line in self.ours.recv(2**20).splitlines()]
        except BlockingIOError:
            return []

    def trial(self, *directions: str) -> WorkerTrial:
        space = {name: Declared(document(parameter)) for name, parameter in SPACE.items()}
        defined = Definition({**space, "momentum": MOMENTUM}, directions or ("minimize",))
        return WorkerTrial("exp", defined, VALUES, 7, self.channel)

    def answer(self, best: Sequence[Any] = (), **user_attrs: Any) -> None:
        """Answers a question before it is asked."""
        self.ours.sendall(json.dumps({"user_attrs": user_attrs, "best": list(best)}).encode() + b"\n")


@contextmanager
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Ends(Channel(theirs.fileno()), ours, theirs)
