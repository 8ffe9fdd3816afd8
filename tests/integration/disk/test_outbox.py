"""Results on disk until told."""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tuned.disk.outbox import Outbox

if TYPE_CHECKING:
    from pathlib import Path


def put(outbox: Outbox, record: dict[str, Any]) -> str:
    name = outbox.new_name()
    outbox.put(name, record)
    return name


def records(outbox: Outbox) -> list[dict[str, Any]]:
    return [record for _, record in outbox.pending()]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


def test_what_was_put_is_pending_in_order_until_discarded(directory: Path) -> None:
    outbox = Outbox(directory)
    first, second = put(outbox, {"trial": 1}), put(outbox, {"trial": 2})
    assert outbox.pending() == [(first, {"trial": 1}), (second, {"trial": 2})]
    outbox.discard(first)
    outbox.discard(first)
    assert outbox.pending() == [(second, {"trial": 2})]


def test_order_survives_a_restart(directory: Path) -> None:
    for number in range(12):
        put(Outbox(directory), {"trial": number})
    assert records(Outbox(directory)) == [{"trial": number} for number in range(12)]


def test_values_come_back_exactly(directory: Path) -> None:
    outbox = Outbox(directory)
    put(outbox, {"values": [0.1 + 0.2, math.inf, -0.0, 5e-324], "text": "\ud800 é"})
    assert records(outbox) == [{"values": [0.1 + 0.2, math.inf, -0.0, 5e-324], "text": "\ud800 é"}]


def test_what_threads_put_at_once_is_all_there(directory: Path) -> None:
    outbox = Outbox(directory)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda number: put(outbox, {"trial": number}), range(50)))
    assert sorted(record["trial"] for record in records(outbox)) == list(range(50))
    assert len(set(names)) == 50


def test_what_was_put_outlives_a_kill(directory: Path) -> None:
    code = (
        "import pathlib, sys; from tuned.disk.outbox import Outbox; box = Outbox(pathlib.Path(sys.argv[1]))\n"
        "for number in range(10**9): box.put(box.new_name(), {'trial': number}); print(number, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(directory)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        told = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout]
    found = [record["trial"] for record in records(Outbox(directory))]
    # The last one may have been put without having been told.
    assert found in (told, [*told, told[-1] + 1])


@pytest.mark.parametrize("content", [b"", b'{"trial": 1', b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_corrupt_record_is_set_aside_and_does_not_hold_up_the_others(
    directory: Path, content: bytes
) -> None:
    outbox = Outbox(directory)
    corrupt, sound = put(outbox, {"trial": 1}), put(outbox, {"trial": 2})
    (directory / corrupt).write_bytes(content)
    assert outbox.pending() == [(sound, {"trial": 2})]
    assert (directory / f"{corrupt}.corrupt").read_bytes() == content


def test_what_does_not_belong_is_set_aside(directory: Path) -> None:
    outbox = Outbox(directory)
    (directory / "notes.txt").write_text("mine")
    os.mkfifo(directory / "000000000007.json")
    assert outbox.pending() == []
    assert {path.name for path in directory.iterdir()} == {"notes.txt.corrupt", "000000000007.json.corrupt"}


def test_no_record_takes_the_number_of_one_that_was_set_aside(directory: Path) -> None:
    outbox = Outbox(directory)
    (directory / put(outbox, {"trial": 1})).write_bytes(b"")
    outbox.pending()
    assert put(Outbox(directory), {"trial": 2}) == "000000000002.json"


def test_a_full_disk_is_told_to_the_caller_and_leaves_nothing(directory: Path) -> None:
    outbox = Outbox(directory)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            put(outbox, {"intermediate": list(range(10_000))})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(directory.iterdir()) == []
    assert records(Outbox(directory)) == []
