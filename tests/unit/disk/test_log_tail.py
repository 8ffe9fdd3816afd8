"""The end of a log is found in a bounded part of it, whatever a trial has printed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuned.disk.layout import older_part
from tuned.disk.log_tail import end_of, last_line, skipped


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (b"epoch 1\nepoch 2\n", "epoch 2"),
        (b"epoch 1\nepoch 2", "epoch 2"),
        (b"epoch 1\n\n  \n", "epoch 1"),
        (b"\r 10%\r 20%\r", "20%"),
        (b"\xff\xfe\n", "��"),
        (b"", ""),
    ],
)
def test_the_last_line_is_the_last_one_with_letters(tmp_path: Path, printed: bytes, expected: str) -> None:
    log = tmp_path / "output.log"
    log.write_bytes(printed)
    assert last_line(log) == expected


def test_a_long_line_is_cut_and_a_long_log_is_not_read(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    with log.open("wb") as file:
        file.truncate(2**40)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"x" * 1000)
    assert last_line(log) == "x" * 200


def test_a_link_or_fifo_in_the_place_of_a_log_has_no_line(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame\n")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "fifo")
    assert [last_line(tmp_path / name) for name in ("link", "fifo", "none")] == ["", "", ""]


@pytest.mark.parametrize(("tail", "expected"), [(3, (4, 1)), (6, (2, 0)), (8, (0, 0)), (99, (0, 0))])
def test_the_tail_goes_over_both_parts_of_a_log(tmp_path: Path, tail: int, expected: tuple[int, int]) -> None:
    log = tmp_path / "output.log"
    older_part(log).write_bytes(b"1234")
    log.write_bytes(b"5678")
    assert skipped(log, tail) == expected


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        (b"", b"all of it\n", b"all of it\n"),
        (b"a\nb\n", b"c\n", b"a\nb\nc\n"),
        (b"first\nsecond\n", b"third\n", b"second\nthird\n"),
        (b"", b"x" * 5000 + b"\n" + b"y" * 900, b"x" * 2099 + b"\n" + b"y" * 900),
        (b"", b"x" + "é".encode() * 1500, "é".encode() * 1500),
        (b"", b"x" * 3 + "é".encode() * 1500, "é".encode() * 1500),
        (b"", "é".encode() * 1500 + b"x", "é".encode() * 1499 + b"x"),
        (b"", b"\xff\0" * 1600, b"\xff\0" * 1500),
    ],
)
def test_the_end_of_a_log_begins_with_a_line_or_a_letter(
    tmp_path: Path, older: bytes, newer: bytes, expected: bytes
) -> None:
    log = tmp_path / "output.log"
    older_part(log).write_bytes(older)
    log.write_bytes(newer)
    most = 15 if len(older) > 5 else 3000
    assert end_of(log, most) == expected


def test_the_end_of_a_link_or_fifo_in_the_place_of_a_log_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame\n")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "fifo")
    assert [end_of(tmp_path / name, 100) for name in ("link", "fifo", "none")] == [b"", b"", b""]
