"""Pipes that the event loop reads, and the lines and the end of the output that comes from them."""

from __future__ import annotations

import os

import pytest

from tests.waiting import until_async
from tuned.trial.pipes import TAIL_CHARACTERS, LineReader, Pipe, Tail


async def test_nothing_is_read_while_there_is_no_room_and_all_of_it_afterwards() -> None:
    seen: list[bytes] = []
    asked: list[bool] = []

    def has_room() -> bool:
        asked.append(len(asked) > 2)
        return asked[-1]

    with Pipe(seen.append, has_room=has_room) as pipe:
        os.write(pipe.writer, b"one")
        await until_async(lambda: seen, what="room")
    assert asked[:4] == [False, False, False, True]
    assert seen == [b"one"]


async def test_at_the_end_the_pipe_is_read_whether_there_is_room_or_not() -> None:
    seen: list[bytes] = []
    with Pipe(seen.append, has_room=lambda: False) as pipe:
        os.write(pipe.writer, b"one")
    assert seen == [b"one"]


async def test_a_process_that_holds_the_pipe_open_is_not_waited_for() -> None:
    seen: list[bytes] = []
    with Pipe(seen.append, has_room=lambda: True) as pipe:
        held = os.dup(pipe.writer)
        os.write(held, b"one")
    assert seen == [b"one"]
    with pytest.raises(BrokenPipeError):
        os.write(held, b"two")
    os.close(held)


def test_a_last_line_that_nothing_ended_is_a_line() -> None:
    seen: list[bytes] = []
    with LineReader(seen.append) as lines:
        lines.feed(b"one\ntw")
        assert seen == [b"one"]
        lines.feed(b"o")
    assert seen == [b"one", b"two"]


def test_an_end_of_line_at_the_end_makes_no_empty_line() -> None:
    seen: list[bytes] = []
    with LineReader(seen.append) as lines:
        lines.feed(b"one\n")
    assert seen == [b"one"]


def test_a_line_that_is_redrawn_is_told_once_as_it_was_in_the_end() -> None:
    seen: list[bytes] = []
    with LineReader(seen.append) as lines:
        lines.feed(b"\r10%\r50%\r100%\n\r 5%\r 9%")
    assert seen == [b"100%", b" 9%"]


def test_the_tail_is_the_last_line_that_is_not_blank_and_bounded() -> None:
    tail = Tail()
    assert tail.after("killed") == "killed"
    tail.feed(b"first\n" + b"x" * 10 * TAIL_CHARACTERS + b"\n  \n")
    assert tail.after("killed") == f"killed: {'x' * TAIL_CHARACTERS}"
