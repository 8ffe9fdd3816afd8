"""Messages as lines on a socket."""

from __future__ import annotations

import socket

from tests.waiting import until_async
from tuned.keeper.wire import CLOGGED_BYTES, Wire


async def pair() -> tuple[Wire, Wire]:
    one, other = socket.socketpair()
    return await Wire.on(one), await Wire.on(other)


async def test_lines_arrive_whole_and_in_their_order_however_long_they_are() -> None:
    here, there = await pair()
    lines = [b"a" * 10_000_000 + b"\n", b"b\n"]
    for line in lines:
        here.send(line)
    assert [await there.receive(), await there.receive()] == lines
    here.close()
    assert await there.receive() is None
    there.close()


async def test_a_line_that_the_other_side_did_not_live_to_finish_is_none() -> None:
    here, there = await pair()
    here.send(b"half")
    here.close()
    assert await there.receive() is None
    # Nobody reads it, and nothing is raised.
    here.send(b"late\n")
    there.close()


async def test_it_is_clogged_while_nobody_reads() -> None:
    here, there = await pair()
    here.send(b"x" * 4 * CLOGGED_BYTES + b"\n")
    assert here.is_clogged
    await there.receive()
    await until_async(lambda: not here.is_clogged, what="the line to be gone")
    here.close()
    there.close()
