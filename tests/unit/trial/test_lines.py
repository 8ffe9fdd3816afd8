"""Output as a terminal shows it."""

from __future__ import annotations

import pytest

from tuned.domain.attributes import LINE_BYTES
from tuned.trial.lines import Lines


def shown(*chunks: bytes) -> tuple[list[bytes], list[bytes]]:
    """All states, and all lines."""
    reader = Lines()
    states: list[bytes] = []
    lines: list[bytes] = []
    for found in [*map(reader.feed, chunks), reader.rest()]:
        states += found.states
        lines += found.lines
    return states, lines


def test_plain_lines_are_shown_as_they_are() -> None:
    assert shown(b"one\n\ntw", b"o") == ([b"one", b"", b"two"], [b"one", b"", b"two"])


def test_a_line_is_cut_at_64_kib() -> None:
    assert LINE_BYTES == 64 * 1024
    _, [cut, next_line] = shown(b"x" * (3 * LINE_BYTES) + b"\nshort\n")
    assert (len(cut), next_line) == (LINE_BYTES, b"short")


@pytest.mark.parametrize("piece", [b"x" * LINE_BYTES, b"\b" * LINE_BYTES, b"xy\b" * LINE_BYTES])
def test_a_line_without_end_is_not_kept_whole(piece: bytes) -> None:
    lines = Lines()
    for _ in range(20):
        assert not lines.feed(piece).states
    assert len(lines._partial) <= 2 * LINE_BYTES
    assert all(len(state) <= LINE_BYTES for state in lines.rest().states)


@pytest.mark.parametrize("end", [b"\r\n", b"\r\r\n"])
def test_a_return_before_the_end_belongs_to_the_end(end: bytes) -> None:
    assert shown(b"one" + end + b"two" + end) == ([b"one", b"two"], [b"one", b"two"])
    assert shown(b"one\r", end, b"two") == ([b"one", b"two"], [b"one", b"two"])


def test_a_return_begins_the_line_anew_and_its_last_state_is_the_line() -> None:
    assert shown(b"\r10%", b" of it\r50%\r100%\n") == ([b"10% of it", b"50%", b"100%"], [b"100%"])


def test_each_state_may_be_as_long_as_a_line_and_none_is_kept_longer() -> None:
    states, lines = shown(*[b"\r%05d" % n + b"x" * 1000 for n in range(200)], b"\n")
    assert [state[:5] for state in states] == [b"%05d" % n for n in range(200)]
    assert lines == [states[-1]]


def test_a_bar_that_was_wiped_is_not_the_line() -> None:
    assert shown(b"\r50%|##|\r        \r\n")[1] == [b"        "]
    assert shown(b"\r50%|##|\r\x1b[K\n")[1] == [b""]
    assert shown(b"50%|##|\x1b[2K\r0.5\n") == ([b"50%|##|", b"0.5"], [b"0.5"])


def test_blanks_that_cover_a_part_leave_the_line() -> None:
    assert shown(b"50%|##|\r  \n")[1] == [b"50%|##|"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\x1b[1;32mloss\x1b[0m 0.5", b"loss 0.5"),
        (b"\x1b]0;a title\x07loss 0.5", b"loss 0.5"),
        (b"\x1b(Bloss\x1b7 0.5", b"loss 0.5"),
        (b"\x1b[1A\x1b[2Kloss 0.5", b"loss 0.5"),
        (b"loss 0.1\b\b\b0.5", b"loss 0.5"),
        (b"loss \xc3\xa4\b0.5", b"loss 0.5"),
        (b"loss 0.5\b\b\b\b\b\b\b\b\b\b", b"loss 0.5"),
        (b"50%\x1b[Gloss 0.5", b"loss 0.5"),
    ],
)
def test_a_terminals_sequences_are_obeyed_and_not_shown(raw: bytes, expected: bytes) -> None:
    assert shown(raw + b"\n")[1] == [expected]


def test_backspaces_at_the_end_of_a_chunk_are_for_the_next_one() -> None:
    assert shown(b"loss 0.1\b\b\b", b"0.5\n")[1] == [b"loss 0.5"]
    long = b"loss 0.1" + b"x\b" * LINE_BYTES + b"\b\b\b"
    assert shown(long, b"0.5\n")[1] == [b"loss 0.5x"[:8]]
