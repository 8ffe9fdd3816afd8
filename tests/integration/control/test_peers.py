"""The kernel's word on who is at the other end."""

from __future__ import annotations

import os
import socket

import pytest

from tuned.control.peers import ConnectionBound, Owner, Peer, peer_of


def test_the_peer_is_who_the_kernel_says() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        peer = peer_of(one)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert {*os.getgroups(), os.getegid()} == peer.gids


@pytest.mark.parametrize(
    ("uid", "gids", "is_trusted"),
    [(0, {5}, True), (1000, {5}, True), (7, {5, 2000}, True), (7, {5}, False), (7, {1000}, False)],
)
def test_root_and_the_daemons_user_and_group_are_trusted(uid: int, gids: set[int], is_trusted: bool) -> None:
    peer = Peer(pid=1, uid=uid, gids=frozenset(gids))
    assert Owner(uid=1000, gid=2000).trusts(peer) == is_trusted


def test_a_bound_on_connections_is_each_users_own() -> None:
    bound = ConnectionBound(most_per_user=2)
    assert [bound.admit(uid) for uid in (7, 7, 7, 8)] == [True, True, False, True]
    bound.leave(7)
    assert bound.admit(7)
    assert not bound.admit(7)
