"""A fork server without a daemon, and the orders that a daemon would give."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tuned.disk.files import open_memory
from tuned.worker.forkserver import MARK_VARIABLE, MESSAGE_BYTES, Order


@contextmanager
def server(*program: str, **environment: str) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """Its socket and its process, which is ended."""
    daemon, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    daemon.settimeout(60)
    argv = (*program, str(theirs.fileno()), "")
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                argv, env={**os.environ, MARK_VARIABLE: "test/server", **environment},
                pass_fds=(theirs.fileno(),),
            )
        )  # fmt: skip
        theirs.close()
        stack.callback(daemon.close)
        yield daemon, process


def fork(daemon: socket.socket, count: int) -> tuple[list[int], list[socket.socket]]:
    """The trials that wait, and our ends of their sockets."""
    pairs = [socket.socketpair() for _ in range(count)]
    socket.send_fds(daemon, [json.dumps([None] * count).encode()], [theirs.fileno() for _, theirs in pairs])
    pids = [int(pid) for pid in daemon.recv(MESSAGE_BYTES).split()]
    for _, theirs in pairs:
        theirs.close()
    return pids, [ours for ours, _ in pairs]


def give(
    trial: socket.socket,
    output: Path,
    *argv: str,
    reports: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Has a trial begin, with this file as both of its outputs, and maybe a socket for its reports."""
    variables = {MARK_VARIABLE: "test/trials", **(environment or {})}
    order = Order(argv=list(argv), environment=variables, workdir="/")
    with output.open("wb") as file, open_memory(json.dumps(order).encode()) as memory, trial:
        given = [memory.fileno(), file.fileno(), file.fileno()]
        socket.send_fds(trial, [b"."], given if reports is None else [*given, reports])
