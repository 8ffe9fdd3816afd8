"""Stop: from SIGTERM to the daemon's exit, with trials that run and have detached children."""

from __future__ import annotations

import time

from optuna.trial import TrialState

from benchmarks import host
from benchmarks.ground import Ground
from benchmarks.report import Report, Spread
from tests.waiting import until

ROUNDS = 5
TRIALS = 32

SPACE = '[space.x]\ntype = "int"\nlow = 0\nhigh = 999999\n'

#: The child leaves the trial's session before the trial goes on.
DETACHING = ["sh", "-c", "setsid sleep 1000 & sleep 1000"]


def measure(ground: Ground, report: Report) -> None:
    seconds = []
    isolation = ""
    with ground.database("postgresql") as url, host.running(ground.directory(), url, slots=TRIALS) as daemon:
        for number in range(ROUNDS):
            if number:
                daemon.start()
            daemon.drop("stopped", host.experiment(DETACHING, SPACE))
            daemon.until_running(TRIALS)
            until(lambda: len(daemon.trial_processes()) >= 2 * TRIALS, what="the detached children")
            isolation = daemon.status()["isolation"]
            began = time.perf_counter()
            assert daemon.abort() == 0, daemon.log_tail()
            seconds.append(time.perf_counter() - began)
            assert not daemon.processes(), "processes were left"
            states = [trial.state for trial in daemon.study("stopped").get_trials(deepcopy=False)]
            assert states == [TrialState.FAIL] * TRIALS * (number + 1), states
            (daemon.spool / "active" / "stopped.toml").unlink()
    found = Spread(tuple(seconds))
    report.table(
        f"Stop: {TRIALS} running trials, each with a detached child, all FAIL in PostgreSQL",
        [{"isolation": isolation, "seconds from SIGTERM to exit": found}],
    )
    report.figure(f"seconds to stop {TRIALS} trials", found.median, at_most=0.5)
