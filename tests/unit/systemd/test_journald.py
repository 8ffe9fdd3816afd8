"""The journal's native protocol, against a datagram socket that reads as journald does."""

from __future__ import annotations

import logging
import os
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tuned.systemd import journald as journald_module
from tuned.systemd import log

ROOT = Path(__file__).parents[3]


@pytest.fixture
def journald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.chdir(tmp_path)  # A socket's path is short; pytest's are not.
    monkeypatch.setattr(journald_module, "SOCKET", "journald")
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        unix.settimeout(10)
        unix.bind("journald")
        yield unix
    log.configure("json")
    logging.captureWarnings(capture=False)
    root.handlers, root.level = before
    structlog.reset_defaults()


def received(unix: socket.socket) -> dict[str, str]:
    data, descriptors, _, _ = socket.recv_fds(unix, 1 << 20, 1)
    for descriptor in descriptors:
        data = os.pread(descriptor, 1 << 24, 0)
        os.close(descriptor)
    return parsed(data)


def parsed(data: bytes) -> dict[str, str]:
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, is_plain, value = line.partition(b"=")
        if not is_plain:
            [size] = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + size], rest[9 + size :]
        fields[name.decode()] = value.decode()
        data = rest
    return fields


def test_a_record_is_an_entry_with_fields_and_the_id_of_its_kind(journald: socket.socket) -> None:
    log.configure("journal", host="alpha")
    with log.trial_fields(experiment="minima", trial=7, slot=1, attempt=2):
        structlog.get_logger().warning("trial failed", cause="exit", reason="exit status 1")
    entry = received(journald)
    assert entry.pop("MESSAGE") == (
        "minima/7: trial failed slot=1 attempt=2 cause='exit' reason='exit status 1'"
    )
    assert entry == {
        "PRIORITY": "4", "SYSLOG_IDENTIFIER": "tuned",
        "MESSAGE_ID": journald_module.MESSAGE_IDS["trial failed"],
        "TUNED_HOST": "alpha", "TUNED_EXPERIMENT": "minima", "TUNED_TRIAL": "7", "TUNED_SLOT": "1",
        "TUNED_ATTEMPT": "2", "TUNED_CAUSE": "exit", "TUNED_REASON": "exit status 1",
    }  # fmt: skip


def test_a_message_begins_with_its_place_and_its_keys_have_one_order(journald: socket.socket) -> None:
    log.configure("journal", host="alpha")
    logger = structlog.get_logger()
    logger.info("experiment over", became="done", experiment="minima", trials=3)
    logger.bind(attempt=2, cause="oom", slot=1).info("trial retried", trial=7, experiment="minima")
    logger.info("host joined", slots=2)
    assert [received(journald)["MESSAGE"] for _ in range(3)] == [
        "minima: experiment over became='done' trials=3",
        "minima/7: trial retried slot=1 attempt=2 cause='oom'",
        "host joined slots=2",
    ]


def test_a_line_of_a_trial_is_an_entry_of_that_trial(journald: socket.socket) -> None:
    log.configure("journal", host="alpha")
    with log.trial_fields(experiment="minima", trial=7, slot=1, attempt=1):
        log.trial_output(b"epoch 1 \xff")
    entry = received(journald)
    assert (entry["MESSAGE"], entry["TUNED_TRIAL"], entry["TUNED_HOST"]) == (
        "minima/7: epoch 1 \ufffd",
        "7",
        "alpha",
    )


def test_text_cannot_forge_a_field(journald: socket.socket) -> None:
    log.configure("journal", host="alpha")
    structlog.get_logger().info("a\nTUNED_HOST=forged", reason="b\nPRIORITY=0")
    entry = received(journald)
    assert (entry["TUNED_HOST"], entry["PRIORITY"]) == ("alpha", "6")
    assert entry["TUNED_REASON"] == "b\nPRIORITY=0"


def test_a_traceback_is_part_of_the_message(journald: socket.socket) -> None:
    log.configure("journal")
    try:
        int("oops")
    except ValueError:
        structlog.get_logger().exception("failed")
    entry = received(journald)
    assert entry["PRIORITY"] == "3"
    assert entry["MESSAGE"].endswith("base 10: 'oops'")


def test_an_entry_too_large_for_a_datagram_goes_as_a_file_in_memory(journald: socket.socket) -> None:
    log.configure("journal")
    structlog.get_logger().info("large", text="x" * 5_000_000)
    assert received(journald)["TUNED_TEXT"] == "x" * 5_000_000


def test_a_flood_of_trials_output_is_bounded() -> None:
    bucket = journald_module.Bucket(per_second=0, most=3)
    assert [bucket.take(1) for _ in range(5)] == [True, True, True, False, False]


def test_what_is_left_out_is_told_once_at_the_end_of_the_trial(
    journald: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_OUTPUT_AT_ONCE", 1)
    log.configure("journal")
    for _ in range(3):
        log.trial_output(b"")
    log.trial_output_ended()
    log.trial_output_ended()
    assert received(journald)["MESSAGE"] == ""
    assert received(journald)["MESSAGE"] == "output of trials left out lines=2"
    journald.settimeout(0)
    assert _next(journald) is None


def test_what_journald_refuses_of_a_trial_is_counted_and_told_when_it_takes_something(
    journald: socket.socket, tmp_path: Path
) -> None:
    log.configure("journal")
    Path("journald").rename(tmp_path / "away")
    log.trial_output(b"lost")
    log.trial_output(b"lost")
    log.trial_output_ended()
    Path("away").rename(tmp_path / "journald")
    log.trial_output_ended()
    entry = received(journald)
    assert (entry["MESSAGE"], entry["TUNED_LINES"]) == ("output of trials left out lines=2 dropped=2", "2")


def test_a_full_journald_costs_records_but_never_waits(journald: socket.socket) -> None:
    log.configure("journal")
    for number in range(5000):
        structlog.get_logger().info("flood", number=number)
    received(journald)
    structlog.get_logger().info("after")
    journald.settimeout(0)
    entries = list(iter(lambda: _next(journald), None))
    assert entries[-1]["MESSAGE"].startswith("after dropped=")


def _next(unix: socket.socket) -> dict[str, str] | None:
    try:
        return received(unix)
    except BlockingIOError:
        return None


@pytest.mark.usefixtures("journald")
def test_a_journald_that_is_not_there_ends_nothing() -> None:
    log.configure("journal")
    Path("journald").unlink()
    structlog.get_logger().info("lost")
    log.trial_output(b"lost")


def test_the_catalog_knows_every_kind_and_no_other() -> None:
    catalog = (ROOT / "systemd" / "tuned.catalog").read_text()
    assert re.findall(r"^-- ([0-9a-f]{32})$", catalog, re.MULTILINE) == list(
        journald_module.MESSAGE_IDS.values()
    )


def test_every_kind_is_one_that_the_daemon_logs() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "tuned").rglob("*.py") if path.stem != "journald")
    assert [kind for kind in journald_module.MESSAGE_IDS if f'"{kind}"' not in code] == []
