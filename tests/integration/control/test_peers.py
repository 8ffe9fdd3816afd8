"""The kernel's word on who is at the other end."""

from __future__ import annotations

import os
import socket

from tuned.control.peers import peer_of


def test_the_peer_is_who_the_kernel_says() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        peer = peer_of(one)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert {*os.getgroups(), os.getegid()} == peer.gids
