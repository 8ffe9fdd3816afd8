"""Wide: one host with 64 slots, and a sampler that learns: how busy they are, and what that costs."""

from __future__ import annotations

import time

from benchmarks import host
from benchmarks.central import SPACE
from benchmarks.ground import KINDS, Ground
from benchmarks.report import Cell, Report

SLOTS = 64
COMMAND = ["sh", "-c", "sleep 1; echo 0.5"]
#: Of which each takes a second.
TRIALS = 20 * SLOTS


def measure(ground: Ground, report: Report) -> None:
    rows = [_measure(ground, report, kind) for kind in KINDS]
    report.table(f"Wide: {SLOTS} slots, commands of 1 s, TPE", rows)


def _measure(ground: Ground, report: Report, kind: str) -> dict[str, Cell]:
    with ground.database(kind) as url, host.running(ground.directory(), url, slots=SLOTS) as daemon:
        # The first experiment makes what all later ones find.
        daemon.run("first", host.experiment(COMMAND, SPACE, trials=SLOTS))
        before, began = host.own_seconds(daemon), time.monotonic()
        daemon.run("wide", host.experiment(COMMAND, SPACE, sampler="tpe", trials=TRIALS), seconds=600)
        cores = (host.own_seconds(daemon) - before) / (time.monotonic() - began)
        spans = host.spans(daemon, "wide").values()
    percent = 100 * TRIALS / sum(ended - began for began, ended in spans)
    report.figure(f"utilisation of {SLOTS} slots, TPE, percent, {kind}", percent, at_least=95)
    report.figure(f"cores of daemon and keeper, {SLOTS} slots, TPE, {kind}", cores, at_most=0.7)
    return {"database": kind, "utilisation": percent, "cores of daemon and keeper": cores}
