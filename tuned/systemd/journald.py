"""journald's native protocol: entries with fields, and a fixed id for each kind of record.

It never waits and never raises: an entry that journald does not take at once is refused. The ids are those of
systemd/tuned.catalog, which says to people what a record means.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import re
import socket
import struct
import time
from typing import TYPE_CHECKING

from tuned.disk.files import open_memory

if TYPE_CHECKING:
    from collections.abc import Mapping


SOCKET = "/run/systemd/journal/socket"

MESSAGE_IDS = {
    "host state": "f9e500968ff04534bb89a9b3206d39b3",
    "database away": "f607344e7fc34d3e97a992162f8b4771",
    "database back": "67112dac0ccd4a2bbfbdfffa9d65c15e",
    "experiment file rejected": "a9ffa0ee3cb24b61929ca254696311a2",
    "experiment open": "fcf479f2067b40fe9251d7369ade6c48",
    "experiment over": "e36de07790094403b236bf4562b56166",
    "experiment paused on this host": "1910409818e44628ab44a3605c89351c",
    "experiment rests on this host": "70d5b5213eb94c899448d14bc0e8a752",
    "limits not kept": "1a480934f7e34445931da1a3df27a36b",
    "trial started": "1f200352193f40c8a2f8c7ad624cc544",
    "trial complete": "ecaed2d687d8400896440bd9b9eade17",
    "trial pruned": "a552d168dc894317ac796a327beb6de7",
    "trial failed": "9219bb3a553a466693148aa53ecf38cd",
    "trial retried": "90f3255cd6cb440b98d901c7a15dfb61",
    "trial aborted": "31d24ab216f048e5a80a7f5c177f8be1",
    "trial given back": "3227e172e5894520a2e447ab92b7d3c2",
    "lost trial settled": "84a052da9a3f439aa7c96faf80b293e9",
    "host found dead": "8849dafaf1264e00bab3299d3ed58326",
    "this host was taken for dead: its trials are given up": "6aa686fb2bd6430f911a1ab4816589bc",
    "spool gone": "911d08a331b44a22bb03cbf2fea26b0d",
    "host does not work now": "ee7bcd8e8b814a0a9b0c23534c5605e0",
    "host works": "b924fd891c394cfea1de0b9a653ce641",
    "files removed": "9c199c7cb94c4b528187c5090e6f667e",
    "request refused": "18b5b3c84bc64693b1c1caa2dc761dd8",
    "trial output": "4a22d1b8ae5c4299a7cf15467cce2c4a",
}

#: sd-daemon(3)
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL

#: Only letters, digits and underscores can stand in a field's name.
_UNFIT = re.compile(r"[^A-Z0-9_]")


class Journal:
    """A socket to journald, made once; journald itself may come and go."""

    def __init__(self) -> None:
        self._path = SOCKET
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def close(self) -> None:
        self._socket.close()

    def send(self, entry: bytes) -> bool:
        """False if journald is not there or does not take it at once."""
        try:
            self._socket.sendto(entry, self._path)
        except OSError as error:
            return error.errno in {errno.EMSGSIZE, errno.ENOBUFS} and self._send_large(entry)
        return True

    def _send_large(self, entry: bytes) -> bool:
        """Sends an entry that is too large for a datagram as a sealed file in memory."""
        with contextlib.suppress(OSError), open_memory(entry) as file:
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file.fileno()))]
            self._socket.sendmsg([], rights, 0, self._path)
            return True
        return False


def encode(fields: Mapping[str, object]) -> bytes:
    """An entry; names are made fit, values are text."""
    return b"".join(_field(_UNFIT.sub("_", name.upper()), str(value)) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    text = value.encode("utf-8", "backslashreplace")
    if b"\n" in text:
        return name.encode() + b"\n" + struct.pack("<Q", len(text)) + text + b"\n"
    return name.encode() + b"=" + text + b"\n"


class Bucket:
    """Bounds the output of trials in the journal, which refuses a service that says too much."""

    def __init__(self, per_second: float, most: float) -> None:
        self._per_second = per_second
        self._most = self._level = most
        self._then = time.monotonic()

    def take(self, amount: float) -> bool:
        now = time.monotonic()
        self._level = min(self._most, self._level + (now - self._then) * self._per_second)
        self._then = now
        if amount > self._level:
            return False
        self._level -= amount
        return True
