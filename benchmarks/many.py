"""Many: a hundred experiments on one host at once: CPU of a trial, and memory of all processes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import host
from benchmarks.central import SPACE
from benchmarks.ground import KINDS, Ground
from benchmarks.report import Cell, Report

EXPERIMENTS = 100
SLOTS = 4
#: Of each experiment.
TRIALS = 10
COMMAND = ["sh", "-c", "sleep 0.1; echo 0.5"]

OBJECTIVE = """
import time

def objective(trial):
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    time.sleep(0.1)
    return 0.5
"""

#: A look at all processes costs the machine some milliseconds.
LOOK_SECONDS = 0.5

#: How long all of them may take.
MOST_SECONDS = 900.0


def measure(ground: Ground, report: Report) -> None:
    rows = []
    for kind in KINDS:
        home = ground.directory()
        module = home / "many_objective.py"
        module.write_text(OBJECTIVE)
        texts = {
            "command": host.experiment(COMMAND, SPACE, trials=TRIALS),
            "Python": host.python_experiment(module, SPACE, f"[budget]\ntrials = {TRIALS}\n", slots=SLOTS),
        }
        rows += [_measure(ground, kind, objective, text) for objective, text in texts.items()]
    report.table(f"Many: {EXPERIMENTS} experiments, trials of 0.1 s, {SLOTS} slots", rows)
    for row in rows:
        if row["objective"] == "command":
            _judge(report, row)


def _judge(report: Report, row: Mapping[str, Cell]) -> None:
    for column, most in (("ms of CPU a trial", 15), ("MiB in all", 300)):
        found = row[column]
        assert isinstance(found, float)
        report.figure(f"{column}, {EXPERIMENTS} experiments, {row['database']}", found, at_most=most)


def _measure(ground: Ground, kind: str, objective: str, text: str) -> dict[str, Cell]:
    names = [f"many-{number}" for number in range(EXPERIMENTS)]
    with (
        ground.database(kind) as url,
        host.running(ground.directory(), url, slots=SLOTS, is_begun_anew=True) as daemon,
    ):
        daemon.run("first", host.experiment(["echo", "0.5"], SPACE, trials=SLOTS))
        before = host.own_seconds(daemon)
        for name in names:
            daemon.drop(name, text)
        most = _watch(daemon, [daemon.spool / "done" / f"{name}.toml" for name in names])
        used = host.own_seconds(daemon) - before
    return {
        "database": kind,
        "objective": objective,
        "ms of CPU a trial": 1000 * used / (EXPERIMENTS * TRIALS),
        "MiB in all": most,
    }


def _watch(daemon: host.Host, ends: list[Path]) -> float:
    """Waits until all of these are there. Returns the most memory that all processes had at once."""
    most, deadline = 0.0, time.monotonic() + MOST_SECONDS
    while not all(end.exists() for end in ends):
        assert time.monotonic() < deadline, daemon.log_tail()
        most = max(most, host.mebibytes(daemon.processes()))
        time.sleep(LOOK_SECONDS)
    return most
