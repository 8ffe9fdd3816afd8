"""Log records: whole, structured, and never in the daemon's way."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import subprocess
import sys
import termios
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tuned.systemd import log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "optuna")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    logging.captureWarnings(capture=False)
    for logger, state in zip(loggers, before, strict=True):
        logger.handlers, logger.level, logger.propagate = state
    structlog.reset_defaults()


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "log").open("w+") as file:
        yield file


def written(stream: TextIO) -> str:
    return Path(stream.name).read_text()


def records(stream: TextIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(stream).splitlines()]


def test_a_json_record_has_time_level_event_and_host(stream: TextIO) -> None:
    log.configure("json", host="h1", stream=stream)
    structlog.get_logger().warning("trial failed", cause="exit")
    [record] = records(stream)
    assert record.pop("timestamp").endswith("Z")
    assert record == {"level": "warning", "event": "trial failed", "cause": "exit", "host": "h1"}


def test_debug_records_are_left_out(stream: TextIO) -> None:
    log.configure("json", stream=stream)
    structlog.get_logger().debug("detail")
    assert records(stream) == []


async def test_a_trials_fields_are_on_the_records_of_its_task_and_its_threads_only(stream: TextIO) -> None:
    log.configure("json", stream=stream)

    async def trial(number: int) -> None:
        with log.trial_fields(experiment="e", trial=number, slot=number, attempt=1):
            await asyncio.sleep(0)
            await asyncio.to_thread(structlog.get_logger().info, "told")

    await asyncio.gather(trial(1), trial(2))
    structlog.get_logger().info("idle")
    assert {(r["event"], r.get("experiment"), r.get("trial")) for r in records(stream)} == {
        ("told", "e", 1),
        ("told", "e", 2),
        ("idle", None, None),
    }


def test_a_traceback_is_in_the_json_record_without_local_variables(stream: TextIO) -> None:
    log.configure("json", stream=stream)
    secret = "pass" + "word"
    try:
        int(secret[:0])
    except ValueError:
        structlog.get_logger().exception("loop failed")
    [record] = records(stream)
    assert record["level"] == "error"
    assert record["exception"].startswith("Traceback")
    assert "password" not in record["exception"]


class _Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.floats() | st.text() | st.binary() | st.none() | st.integers(), st.lists, max_leaves=5
        ),
    )
)
def test_any_value_makes_one_json_line(value: object) -> None:
    line = log._json(None, "info", {"event": "e", "value": value, "level": "info"})
    assert "\n" not in line
    json.loads(line, parse_constant=pytest.fail)


def test_a_value_that_cannot_be_shown_does_not_raise(stream: TextIO) -> None:
    for form in ("json", "console"):
        log.configure(form, stream=stream)
        structlog.get_logger().info("e", value=_Unprintable())
    assert [record["unprintable"] for record in records(stream)] == ["RuntimeError"] * 2


@pytest.mark.filterwarnings("always")
def test_a_librarys_warning_is_a_record_and_its_small_talk_is_not(stream: TextIO) -> None:
    log.configure("json", stream=stream)
    chatty = logging.getLogger("aiohttp.server")
    chatty.info("small talk")
    chatty.log(35, "%d connections", 3)
    warnings.warn("deprecated", stacklevel=1)
    assert [(r["logger"], r["event"][:13], r["level"]) for r in records(stream)[:1]] == [
        ("aiohttp.server", "3 connections", "warning")
    ]
    assert "deprecated" in records(stream)[1]["event"]


def test_optuna_speaks_through_us_only(stream: TextIO, capfd: pytest.CaptureFixture[str]) -> None:
    log.configure("json", stream=stream)
    log.route_optuna()
    logging.getLogger("optuna.study").warning("trial 1 failed")
    logging.getLogger("optuna.study").info("a new study")
    assert [record["event"] for record in records(stream)] == ["trial 1 failed"]
    assert capfd.readouterr().err == ""


def test_the_console_has_neither_colours_nor_control_sequences_off_a_terminal(stream: TextIO) -> None:
    log.configure("console", stream=stream)
    structlog.get_logger().info("taken", file="\x1b[2J")
    assert "\x1b" not in written(stream)
    assert r"file='\x1b[2J'" in written(stream)


@pytest.mark.parametrize("is_inherited", [True, False])
def test_auto_means_the_journal_only_where_the_stream_is_the_journals(
    stream: TextIO, monkeypatch: pytest.MonkeyPatch, is_inherited: bool
) -> None:
    status = os.fstat(stream.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + is_inherited}")
    log.configure("auto", stream=stream)
    structlog.get_logger().info("up")
    # The journal is spoken to directly; the inherited stream stays empty.
    assert written(stream).startswith("{") is is_inherited


def test_auto_means_console_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb", buffering=0) as screen:
        log.configure("auto", stream=terminal)
        structlog.get_logger().info("up")
        assert b"\x1b[" in screen.read(1000)


def test_a_full_pipe_costs_records_but_never_waits_and_the_loss_is_told() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb", buffering=0) as pipe:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        log.configure("json", stream=stream)
        for number in range(200):
            structlog.get_logger().info("flood", number=number, text="x" * 100)
        flood = pipe.read(1 << 20).splitlines()
        structlog.get_logger().info("after")
        after = json.loads(pipe.read(1 << 20).splitlines()[-1])
    assert [json.loads(line)["number"] for line in flood[:-1]] == list(range(len(flood) - 1))
    assert 200 - len(flood) <= after["dropped"] <= 200 - len(flood) + 1


def test_a_record_over_the_pipes_size_does_not_spoil_the_next() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb", buffering=0) as pipe:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        log.configure("json", stream=stream)
        structlog.get_logger().info("long", text="x" * 10_000)
        pipe.read(1 << 20)
        structlog.get_logger().info("short")
        assert json.loads(pipe.read(1 << 20).splitlines()[-1])["event"] == "short"


def test_a_stopped_terminal_does_not_hold_up_the_daemon() -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb"):
        log.configure("console", stream=terminal)
        termios.tcflow(theirs, termios.TCOOFF)
        for number in range(1000):
            structlog.get_logger().info("flood", number=number, text="x" * 100)
        termios.tcflow(theirs, termios.TCOON)
        termios.tcflush(theirs, termios.TCOFLUSH)


@pytest.mark.parametrize("end", ["closed reader", "closed descriptor", "full disk", "none at start"])
def test_a_broken_standard_error_ends_nothing(end: str) -> None:
    code = (
        "import os, structlog; from tuned.systemd import log; log.configure('auto')\n"
        f"if {end == 'closed descriptor'}: os.close(2)\n"
        "structlog.get_logger().error('e'); import logging; logging.getLogger('x').error('e'); print('alive')"
    )
    redirection = {"full disk": "2>/dev/full", "none at start": "2>&-", "closed reader": "2> >(exec true)"}
    command = ["bash", "-c", f'"$0" -c "$1" {redirection.get(end, "")}', sys.executable, code]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "alive\n")
