"""Intermediate values of running trials, as everybody sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, first
from tests.postgres import PostgresServer
from tests.waiting import until

#: A trial is in a batch once it has run for five seconds.
pytestmark = pytest.mark.timeout(240)


def reporting(gate: Path) -> str:
    """One trial after the other. Each reports twice, and once more when the gate is open."""
    wait = f"until test -e {gate}; do sleep 0.05; done"
    script = f"echo loss 0.5; echo loss 0.25, lr 0.1; {wait}; echo loss 0.125"
    return (
        f'parallel = 1\nsampler.name = "grid"\n[objective]\ncommand = ["sh", "-c", {json.dumps(script)}]\n'
        f"metric.pattern = 'loss (?P<value>[0-9.]+)'\n"
        '[space.x]\ntype = "int"\nlow = 0\nhigh = 0\n'
    )


def until_seen(daemon: Daemon, expected: dict[int, float], number: int = 0) -> None:
    """Until plain Optuna reads these values of a trial."""

    def is_there() -> bool:
        trials = daemon.study("exp").get_trials(deepcopy=False)
        return len(trials) > number and trials[number].intermediate_values == expected

    until(is_there, what=f"{expected} of trial {number}", seconds=60)


def said(daemon: Daemon, *arguments: str) -> str:
    """As one line with single blanks."""
    return " ".join(daemon.tunectl(*arguments).stdout.split())


def test_reports_are_seen_while_their_trial_runs_and_survive_a_kill(
    make: MakeDaemon, database_url: str, tmp_path: Path
) -> None:
    daemon = make(storage=database_url).start()
    stream = daemon.watching()
    daemon.drop("exp", reporting(tmp_path / "gate"))
    reported: Any = first(stream, "trial-reported")
    assert (reported["trial"], reported["report"]) == (0, {"step": 1, "value": 0.25})
    assert "step 1: 0.25" in said(daemon, "status")
    until_seen(daemon, {0: 0.5, 1: 0.25})
    for arguments in (["show", "exp"], ["trials", "exp"]):
        assert "step 1: 0.25" in said(daemon, *arguments)
    assert "Reports 2: from step 0: 0.5 to step 1: 0.25" in said(daemon, "explain", "exp", "0")
    daemon.kill()
    daemon.start()
    # The point is evaluated again, by another trial.
    until_seen(daemon, {0: 0.5, 1: 0.25}, number=1)
    (tmp_path / "gate").touch()
    daemon.until_in("done", "exp")
    lost, complete = daemon.study("exp").get_trials()
    assert (lost.state, lost.intermediate_values) == (TrialState.FAIL, {0: 0.5, 1: 0.25})
    assert (complete.state, complete.value) == (TrialState.COMPLETE, 0.125)
    assert complete.intermediate_values == {0: 0.5, 1: 0.25, 2: 0.125}


def test_another_host_sees_them_once_the_database_is_back(
    make: MakeDaemon, postgres: PostgresServer, tmp_path: Path
) -> None:
    storage = postgres.create_database()
    here, there = make(storage=storage), make("b", storage=storage, host="beta")
    for daemon in (here, there):
        # Nobody is declared dead on a busy machine.
        daemon.configure(slots=2, host="alpha" if daemon is here else "beta", expire="60s")
        daemon.start()
    here.drop("exp", reporting(tmp_path / "gate"))
    here.until_running(1)
    postgres.stop()
    until(lambda: not here.status()["database"]["reachable"], what="the outage", seconds=60)
    assert here.running() == 1
    postgres.start()
    until(lambda: "step 1: 0.25 on alpha" in said(there, "show", "exp"), what="the report", seconds=60)
    [trial] = there.trials("exp")
    assert (trial["state"], trial["report"]) == ("RUNNING", {"step": 1, "value": 0.25})
    (tmp_path / "gate").touch()
    here.until_in("done", "exp")
    assert here.study("exp").get_trials()[0].intermediate_values == {0: 0.5, 1: 0.25, 2: 0.125}
