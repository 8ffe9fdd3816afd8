"""Small: how long tunectl and a start take, and what an idle daemon takes of its machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks import host
from benchmarks.ground import KINDS, Ground
from benchmarks.report import Cell, Report, Spread
from benchmarks.rounds import take_turns
from tests.acceptance.daemon import TUNECTL

STATUSES = 11
STARTS = 3
#: The kernel counts CPU time in hundredths of a second.
IDLE_SECONDS = 60.0
_READY_SECONDS = 60


def measure(ground: Ground, report: Report) -> None:
    rows: list[dict[str, Cell]] = []
    for kind in KINDS:
        with ground.database(kind) as url:
            home = ground.directory()
            ready = Spread(tuple(_seconds_to_ready(home, url) for _ in range(STARTS)))
            with host.running(home, url, slots=4, is_begun_anew=True) as daemon:
                rows.append({"database": kind, "seconds to READY": ready, **_idle(daemon)})
                if kind == "postgresql":
                    _measure_status(daemon, report)
        report.figure(f"seconds to READY, {kind}", ready.median, at_most=1.5)
    report.table("Small: a daemon with nothing to do", rows)
    for row in rows:
        for column, most in (("CPU percent", 0.1), ("MiB", 130)):
            found = row[column]
            assert isinstance(found, float)
            report.figure(f"{column} of an idle daemon, {row['database']}", found, at_most=most)


def _measure_status(daemon: host.Host, report: Report) -> None:
    status = [*TUNECTL, "--socket", str(daemon.socket), "status"]
    contenders = {"python -c pass": [sys.executable, "-c", "pass"], "tunectl status": status}
    found = take_turns(STATUSES, {name: partial(_milliseconds, argv) for name, argv in contenders.items()})
    report.table("Small: milliseconds of a command, start of the interpreter and all", [{**found}])
    report.figure("milliseconds of tunectl status", found["tunectl status"].median, at_most=150)


def _milliseconds(argv: list[str], _: int) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000


def _seconds_to_ready(home: Path, url: str) -> float:
    """From launch to READY=1, as the service manager sees them."""
    daemon = host.Host(home / "host", storage=url, slots=4)
    # With its imports.
    daemon.is_begun_anew = True
    path = home / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(_READY_SECONDS)
        daemon.environment["NOTIFY_SOCKET"] = str(path)
        began = time.perf_counter()
        daemon.launch()
        while b"READY=1" not in manager.recv(4096):
            pass
        took = time.perf_counter() - began
        daemon.close()
    path.unlink()
    return took


def _idle(daemon: host.Host) -> dict[str, Cell]:
    daemon.until_joined()
    # By then it has done all that its start left to do.
    time.sleep(5)
    before = host.household_seconds(daemon)
    time.sleep(IDLE_SECONDS)
    after = host.household_seconds(daemon)
    return {
        "CPU percent": 100 * (after - before) / IDLE_SECONDS,
        "MiB": host.mebibytes((daemon.pid, *daemon.keepers())),
    }
