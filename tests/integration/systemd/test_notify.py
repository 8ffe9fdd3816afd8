"""sd_notify, against a real datagram socket."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tuned.systemd.notify import Notifier, watchdog_interval_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.chdir(tmp_path)  # A socket's path is short; pytest's are not.
    monkeypatch.setenv("NOTIFY_SOCKET", "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        unix.settimeout(10)
        unix.bind("notify")
        yield unix


def test_each_state_is_one_message(systemd: socket.socket) -> None:
    with Notifier() as notifier:
        notifier.ready()
        notifier.watchdog()
        notifier.stopping(1.5)
    stopping = b"STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000"
    assert [systemd.recv(1000) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", stopping]


def test_reloading_carries_the_time(systemd: socket.socket) -> None:
    with Notifier() as notifier:
        notifier.reloading()
    first, second = systemd.recv(1000).splitlines()
    assert first == b"RELOADING=1"
    assert int(second.removeprefix(b"MONOTONIC_USEC=")) > 0


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("2 of 4 slots busy", b"2 of 4 slots busy"),
        ("größer \u2192 80\u00a0%", b"gr??er ? 80?%"),
        ("away\nREADY=1", b"away?READY=1"),
    ],
)
def test_a_status_of_any_text_arrives_as_one_line_of_ascii(
    systemd: socket.socket, text: str, sent: bytes
) -> None:
    with Notifier() as notifier:
        notifier.status(text)
    assert systemd.recv(1000) == b"STATUS=" + sent


def test_an_abstract_socket_works(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"tuned-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        unix.settimeout(10)
        unix.bind(f"\0{name}")
        with Notifier() as notifier:
            notifier.ready()
        assert unix.recv(1000) == b"READY=1"


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with Notifier() as notifier:
        for say in (notifier.ready, notifier.reloading, notifier.watchdog):
            say()
        notifier.status("alone")


def test_a_service_manager_that_went_away_is_no_error(systemd: socket.socket) -> None:
    with Notifier() as notifier:
        systemd.close()
        notifier.watchdog()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval_seconds(environ) == seconds
