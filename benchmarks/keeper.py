"""Keeper: what the process that owns the trials takes beside the daemon, and how soon the next one has it.

Shared pages are counted in parts (PSS), because the keeper and the processes that wait for trials share most.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks import host
from benchmarks.ground import Ground
from benchmarks.report import Cell, Report, Spread
from tests.waiting import until

RUNNING = 64
ROUNDS = 3
TRIALS = 200
IDLE_SECONDS = 20.0

SPACE = '[space.x]\ntype = "int"\nlow = 0\nhigh = 999999\n'


def measure(ground: Ground, report: Report) -> None:
    with ground.database("postgresql") as url, host.running(ground.directory(), url, slots=RUNNING) as daemon:
        daemon.until_joined()
        [keeper] = daemon.keepers()
        idle = _idle(daemon, keeper)
        per_trial = [_of_a_trial(daemon, keeper, number) for number in range(ROUNDS)]
        daemon.drop("running", host.experiment(["sleep", "1000"], SPACE))
        daemon.until_running(RUNNING)
        until(lambda: len(daemon.trial_processes()) >= RUNNING, what="all trials to have begun")
        full = {"daemon": pss_mebibytes(daemon.pid), "keeper": pss_mebibytes(keeper)}
        adopted = Spread(tuple(_seconds_to_adopt(daemon) for _ in range(ROUNDS)))
    rows: list[dict[str, Cell]] = [
        {"process": process, "MiB idle": idle[process], f"MiB with {RUNNING} trials": full[process],
         "CPU ms of a trial": Spread(tuple(each[process] for each in per_trial))}
        for process in ("daemon", "keeper")
    ]  # fmt: skip
    report.table("Keeper: memory (PSS), and CPU of a command that does nothing", rows)
    report.table(
        f"Keeper: from the death of a daemon until the next one goes on with {RUNNING} trials",
        [{"seconds": adopted}],
    )
    report.figure("CPU percent of both while nothing runs", idle["CPU percent"], at_most=0.1)
    report.figure("MiB of both while nothing runs", idle["daemon"] + idle["keeper"], at_most=130)
    report.figure(f"MiB of the keeper with {RUNNING} trials", full["keeper"], at_most=40)


def pss_mebibytes(pid: int) -> float:
    lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def _idle(daemon: host.Host, keeper: int) -> dict[str, float]:
    # By then the daemon has done all that its start left to do.
    time.sleep(2)
    before = host.household_seconds(daemon)
    time.sleep(IDLE_SECONDS)
    percent = 100 * (host.household_seconds(daemon) - before) / IDLE_SECONDS
    return {
        "CPU percent": percent, "daemon": pss_mebibytes(daemon.pid), "keeper": pss_mebibytes(keeper),
    }  # fmt: skip


def _of_a_trial(daemon: host.Host, keeper: int, number: int) -> dict[str, float]:
    """Milliseconds of each process itself; those of the commands are not among them."""
    pids = {"daemon": daemon.pid, "keeper": keeper}
    before = {process: host.cpu_seconds(pid)[0] for process, pid in pids.items()}
    text = host.experiment(["sh", "-c", "echo 1"], SPACE, trials=TRIALS)
    daemon.run(f"short-{number}", f"parallel = 4\n{text}", seconds=120)
    return {
        process: 1000 * (host.cpu_seconds(pid)[0] - before[process]) / TRIALS for process, pid in pids.items()
    }


def _seconds_to_adopt(daemon: host.Host) -> float:
    daemon.crash()
    began = time.perf_counter()
    daemon.start()
    daemon.until_running(RUNNING)
    return time.perf_counter() - began
