"""The log of a trial's output: what is kept, in which order, and that no disk hurts the trial or the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.waiting import PATIENCE_SECONDS, until_async
from tuned.disk import trial_log
from tuned.disk.layout import older_part
from tuned.disk.trial_log import TrialLog


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(trial_log, "LOG_BYTES", 100)
    monkeypatch.setattr(trial_log, "CHUNK_BYTES", 20)
    return tmp_path / "output.log"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that hangs until this is set."""
    goes_on = threading.Event()
    write_file = trial_log._File.write

    def slow_write(file: trial_log._File, output: bytes) -> None:
        assert goes_on.wait(PATIENCE_SECONDS), "the event loop stood still"
        write_file(file, output)

    monkeypatch.setattr(trial_log._File, "write", slow_write)
    yield goes_on
    goes_on.set()


async def write(log: Path, *chunks: bytes) -> None:
    file = TrialLog(log)
    file.open()
    for chunk in chunks:
        file.write(chunk)
    file.close()
    await trial_log.all_written()


def kept(file: Path) -> bytes:
    return file.read_bytes()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


async def test_a_log_keeps_all_that_is_written(log: Path) -> None:
    await write(log, b"one\n", b"two\n")
    assert kept(log) == b"one\ntwo\n"
    assert mode(log) == 0o640


async def test_a_further_attempt_goes_on_in_the_same_log(log: Path) -> None:
    await write(log, b"one\n")
    await write(log, b"two\n")
    assert kept(log) == b"one\ntwo\n"


async def test_a_long_log_is_set_aside_and_begun_anew(log: Path) -> None:
    await write(log, b"a" * 60, b"b" * 60, b"c" * 60)
    assert kept(older_part(log)) == b"a" * 60 + b"b" * 60
    assert kept(log) == b"c" * 60


async def test_of_a_flood_the_newest_part_is_kept(log: Path) -> None:
    await write(log, *(b"%04d" % number for number in range(1000)))
    output = kept(older_part(log)) + kept(log)
    assert output.endswith(b"0999")
    assert 100 <= len(output) <= 204
    assert names(log.parent) == {"output.log", "output.log.1"}


async def test_a_long_log_of_an_earlier_attempt_counts(log: Path) -> None:
    await write(log, b"a" * 90)
    await write(log, b"b" * 20, b"c")
    assert kept(log) == b"c"


async def test_a_log_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    await write(tmp_path / "no" / "such" / "directory" / "output.log", b"one\n")


async def test_a_full_disk_does_no_harm() -> None:
    with capture_logs() as logs:
        await write(Path("/dev/full"), b"one\n", b"two\n")
    assert [each["event"] for each in logs] == ["output not kept"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.with_name("elsewhere"))])
async def test_a_trial_that_replaces_its_log_gets_none(tmp_path: Path, make: object) -> None:
    log = tmp_path / "output.log"
    make(log)  # type: ignore[operator]
    with capture_logs() as logs:
        await write(log, b"one\n")
    assert [each["event"] for each in logs] == ["output not kept"]
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["output.log", "output.log.1"])
async def test_a_link_that_a_trial_made_of_its_log_shows_nothing(tmp_path: Path, name: str) -> None:
    log = tmp_path / "output.log"
    (tmp_path / "secret").write_bytes(b"secret\n")
    log.write_bytes(b"one\n")
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to("secret")
    shown = b""
    with contextlib.suppress(FileNotFoundError):
        async for chunk in trial_log.read(log, None):
            shown += chunk
    assert shown == (b"" if name == "output.log" else b"one\n")


# Slow disks


async def test_the_loop_goes_on_and_a_reader_waits_while_the_disk_is_slow(
    tmp_path: Path, disk: threading.Event
) -> None:
    asyncio.get_running_loop().call_later(0.05, disk.set)
    await write(tmp_path / "output.log", b"one\n", b"two\n")
    assert (tmp_path / "output.log").read_bytes() == b"one\ntwo\n"


async def test_a_reader_does_not_wait_for_ever_and_the_log_comes_when_the_disk_does(
    tmp_path: Path, disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_log, "WRITTEN_SECONDS", 0.01)
    log = tmp_path / "output.log"
    await write(log, b"one\n")
    await write(log, b"two\n")
    assert not log.exists() or log.read_bytes() == b""
    disk.set()
    await until_async(lambda: log.exists() and log.read_bytes() == b"one\ntwo\n", what="the log")


async def test_what_waits_for_a_slow_disk_is_bounded_and_the_newest_is_kept(
    tmp_path: Path, disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_log, "WAITING_BYTES", 40)
    file = TrialLog(tmp_path / "output.log")
    file.open()
    file.write(b"first\n")
    await until_async(lambda: file._writing is not None, what="the first write to begin")
    for number in range(10):
        file.write(b"%09d\n" % number)
    assert not file.has_room()
    monkeypatch.setattr(trial_log, "STALL_SECONDS", -1.0)
    assert file.has_room()
    file.write(b"%09d\n" % 10)
    disk.set()
    file.close()
    await trial_log.all_written()
    note = b"\n[tuned: the disk is too slow: 70 bytes left out]\n"
    rest = b"".join(b"%09d\n" % number for number in range(7, 11))
    assert (tmp_path / "output.log").read_bytes() == b"first\n" + note + rest


async def test_many_lines_are_one_write_and_their_order_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    write_file = trial_log._File.write

    def counted(file: trial_log._File, output: bytes) -> None:
        writes.append(len(output))
        write_file(file, output)

    monkeypatch.setattr(trial_log._File, "write", counted)
    lines = [b"%d\n" % number for number in range(1000)]
    await write(tmp_path / "output.log", *lines)
    assert (tmp_path / "output.log").read_bytes() == b"".join(lines)
    assert len(writes) == 1


async def test_a_reader_does_not_hold_up_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    open_file = trial_log._open_to_read

    def slow_open(path: Path, _offset: int = 0) -> object:
        assert goes_on.wait(PATIENCE_SECONDS), "the event loop stood still"
        return open_file(path)

    await write(tmp_path / "output.log", b"one\n")
    monkeypatch.setattr(trial_log, "_open_to_read", slow_open)
    asyncio.get_running_loop().call_later(0.01, goes_on.set)
    assert [chunk async for chunk in trial_log.read(tmp_path / "output.log", None)] == [b"one\n"]


@pytest.mark.parametrize(("tail", "expected"), [(3, b"678"), (6, b"345678"), (99, b"12345678")])
async def test_a_reader_may_begin_near_the_end(tmp_path: Path, tail: int, expected: bytes) -> None:
    log = tmp_path / "output.log"
    older_part(log).write_bytes(b"1234")
    log.write_bytes(b"5678")
    assert b"".join([chunk async for chunk in trial_log.read(log, None, tail=tail)]) == expected
