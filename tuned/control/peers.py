"""The peer at the other end of a Unix socket: its credentials, its rights and its share of connections.

The kernel names the peer, as of the time of the connect; nothing that the peer sends is believed.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

#: Not in Python's socket module.
_SO_PEERGROUPS = 59


_CREDENTIALS = struct.Struct("iII")


#: Python's getsockopt returns no more.
_MOST_GROUP_BYTES = 1024


class Access(StrEnum):
    """The peers that may ask."""

    ANYONE = "who may connect"
    TRUSTED = "root, the daemon's user and its group"


class _Options(Protocol):
    """A socket, or what asyncio shows of one."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The process that connected."""

    pid: int
    uid: int
    #: Of the process, and its supplementary ones.
    gids: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The user and the group as which the daemon runs."""

    uid: int
    gid: int

    @classmethod
    def of_this_process(cls) -> Owner:
        return cls(uid=os.geteuid(), gid=os.getegid())

    def trusts(self, peer: Peer) -> bool:
        """Whether the peer may change something, and see the output of trials."""
        return peer.uid in {0, self.uid} or self.gid in peer.gids


def peer_of(connection: _Options) -> Peer:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(credentials)
    return Peer(pid=pid, uid=uid, gids=_supplementary_gids(connection) | {gid})


def _supplementary_gids(connection: _Options) -> frozenset[int]:
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUP_BYTES)
    except OSError:
        # A kernel before 4.13, or a peer with over 256 groups: it is judged by its user and first group.
        return frozenset()
    return frozenset(struct.unpack(f"{len(packed) // 4}I", packed))


class ConnectionBound:
    """Counts each user's connections, so that nobody can use up the daemon's descriptors."""

    def __init__(self, most_per_user: int) -> None:
        self.most_per_user = most_per_user
        self._open: Counter[int] = Counter()

    def admit(self, uid: int) -> bool:
        """False if the user has as many as allowed; otherwise counts one more, until ``leave``."""
        if self._open[uid] >= self.most_per_user:
            return False
        self._open[uid] += 1
        return True

    def leave(self, uid: int) -> None:
        self._open[uid] -= 1
        if not self._open[uid]:
            del self._open[uid]
