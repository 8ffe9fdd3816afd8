"""The socket by which daemons, one after the other, find the keeper of a state directory.

It lies in the keeper's own directory, which only our user may enter. This room must never wait for an answer.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = "socket"


def listen(directory: Path) -> socket.socket:
    """Opens the door, for the one who holds the directory's lock. Raises OSError."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A dead one's.
        (directory / _NAME).unlink(missing_ok=True)
        with _address(directory) as address:
            door.bind(address)
        door.listen()
    except BaseException:
        door.close()
        raise
    return door


def knock(directory: Path) -> socket.socket | None:
    """A way to the keeper of the directory; None if there is none."""
    with _address(directory) as address:
        return call(address)


def call(address: str) -> socket.socket | None:
    """A way to somebody who listens there; None if there is nobody. Raises OSError."""
    calling = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        calling.connect(address)
    except (FileNotFoundError, ConnectionError):
        calling.close()
        return None
    except BaseException:
        calling.close()
        raise
    return calling


@contextlib.contextmanager
def _address(directory: Path) -> Iterator[str]:
    """A short name for it: the kernel takes no more than 107 bytes, and a state directory may lie deep."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)
