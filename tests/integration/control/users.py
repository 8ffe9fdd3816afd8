"""Requests of other users: a process that gives up its rights and asks."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

OVERFLOW_UID = 65534
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def ask_as(path: Path, uid: int, gids: list[int], sent: bytes) -> int:
    """Asks in a process of its own with another user and groups; returns the answer's status."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgroups(gids)
            os.setresgid(OVERFLOW_UID, OVERFLOW_UID, OVERFLOW_UID)
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(20)
                connection.connect(str(path))
                connection.sendall(sent)
                theirs.sendall(connection.makefile("rb").read())
        os._exit(0)
    theirs.close()
    with ours:
        answer = ours.makefile("rb").read()
    os.waitpid(child, 0)
    return int(answer.split()[1])
