"""Forks trials for the daemon, in advance: each waits in a control group of its own for what it is to become.

A server is a child of the daemon, which holds the other end of a socket. It says READY, or why it cannot be
forked. Each message with sockets asks for as many trials, in the control groups that it names; the answer is
their process ids. When nobody holds the other end any more, it ends.

Trials are forked by a child that ends at once, so that the daemon, which adopts orphans, becomes their parent
and learns how they end from the kernel, whatever becomes of the server. Each joins its group and waits at its
socket until it is told what to become, or nobody holds the other end.

An upgrade puts its version of this file, and of the programs that use it, under a daemon that goes on
running: what the daemon of the version before asks for must be understood.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn, Optional, TypedDict

#: The mark: ``<installation>/<claim>``.
MARK_VARIABLE = "TUNED_MARK"

READY = b"ready"

#: Said before READY by a server that has imported a module: it only has to find out now whether it can fork.
IMPORTED = b"imported"

#: So many trials are asked for at a time: the process in between costs as much as one of them.
TRIALS = 4

#: The daemon gives a trial at most so many: its order (JSON), standard output, standard error, and for a
#: Python objective the socket of its reports.
DESCRIPTORS = 4

#: As env(1) and nohup(1) have it if they fail by themselves.
CANNOT_BEGIN = 125

#: Longer than anything that the daemon says, or that we answer.
MESSAGE_BYTES = 64 * 1024


class Order(TypedDict):
    """The program that a waiting trial becomes."""

    argv: list[str]
    #: All of it, with the mark.
    environment: dict[str, str]
    workdir: str


#: Makes a trial of the process that calls it, with the descriptor of the socket of its reports, if it has
#: one; returns its exit status. Raises OSError or ValueError if it cannot begin.
Become = Callable[[Order, Optional[int]], int]


def connect(descriptor: str, group: str) -> socket.socket:
    """Joins the server's control group, unless it is empty; returns the socket to the daemon."""
    if group:
        _join(group)
    daemon = socket.socket(fileno=int(descriptor))
    # Processes that a program starts must not hold it.
    daemon.set_inheritable(False)
    return daemon


def serve(daemon: socket.socket, become: Become) -> None:
    """Forks trials when the daemon asks for them, until the daemon is gone."""
    # A process that ignores it cannot wait for a child.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if "SLURM_JOB_ID" in os.environ:
        # Slurm may send a step's signal to all of its processes. SIGINT drains: trials are to finish.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    daemon.send(READY)
    while True:
        groups, sockets, _, _ = socket.recv_fds(daemon, MESSAGE_BYTES, TRIALS, socket.MSG_CMSG_CLOEXEC)
        if not sockets:
            return
        answer = _fork(daemon, become, sockets, json.loads(groups))
        for each in sockets:
            os.close(each)
        daemon.send(answer)


def _fork(
    daemon: socket.socket, become: Become, sockets: Sequence[int], groups: Sequence[str | None]
) -> bytes:
    """The process ids of trials, which are no children of ours when we have them."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        pids: list[str] = []
        try:
            for each, group in zip(sockets, groups):
                if (pid := os.fork()) == 0:
                    _be_trial(become, each, group, {reader, writer, daemon.detach(), *sockets} - {each})
                pids.append(str(pid))
        finally:
            # Those that there are, if the system allows no more.
            os.write(writer, " ".join(pids).encode())
            os._exit(0)
    os.close(writer)
    answer = os.read(reader, 1024)
    os.close(reader)
    os.waitpid(between, 0)
    if not answer:
        raise SystemExit("the system allows no further process")
    return answer


def _be_trial(become: Become, waiting: int, group: str | None, others: Collection[int]) -> NoReturn:
    status = CANNOT_BEGIN
    try:
        os.setsid()
        for each in others:
            os.close(each)
        hindrance = None if group is None else _hindrance(group)
        if (received := _receive(waiting)) is not None:
            if hindrance is not None:
                raise hindrance
            status = become(*received)
    except (OSError, ValueError) as error:
        os.write(2, f"tuned: cannot begin the trial: {error}\n".encode())
    finally:
        # Not the interpreter's own end: it would take down, module by module, what is there once for all.
        os._exit(status)


def _hindrance(group: str) -> OSError | None:
    """Joins a control group; if it cannot, why, for there is no output yet to say it on."""
    try:
        _join(group)
    except OSError as error:
        return error
    return None


def _join(group: str) -> None:
    # Not with a buffer: a refused write would be tried again.
    with io.FileIO(f"{group}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()).encode())


def _receive(waiting: int) -> tuple[Order, int | None] | None:
    """Waits for the order, and has its outputs from then on; None if nobody is there to give one.

    The descriptor is the socket of its reports, if it gets one.
    """
    with socket.socket(fileno=waiting) as daemon:
        _, given, _, _ = socket.recv_fds(daemon, 1, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    if not given:
        return None
    order, stdout, stderr, *reports = given
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    found: Order = json.loads(os.pread(order, os.fstat(order).st_size, 0))
    for each in (order, stdout, stderr):
        os.close(each)
    return found, reports[0] if reports else None
