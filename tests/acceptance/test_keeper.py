"""The process that owns the trials: what becomes of them when it dies, and of it when its daemon stops."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.acceptance.daemon import Daemon, an_experiment, first, is_alive
from tests.integration.trial.trees import pid_in
from tests.waiting import until


def waiting(home: Path, *, low: int = 0) -> str:
    """Its trials wait for a file, and write their process ids."""
    script = f"echo $$ > {home}/pid; while [ ! -e {home}/go ]; do sleep 0.05; done"
    return an_experiment(script, low=low, high=low, more="[budget]\nevaluations = 1\n")


@pytest.mark.parametrize("fixture", ["daemon", "plain_daemon"])
def test_when_the_keeper_dies_its_trial_is_lost_and_evaluated_again(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    daemon: Daemon = request.getfixturevalue(fixture)
    daemon.drop("lost", waiting(daemon.home))
    pid = pid_in(daemon.home / "pid")
    [keeper] = daemon.keepers()
    stream = daemon.watching()
    os.kill(keeper, signal.SIGKILL)
    failure = first(stream, "trial-ended", experiment="lost", trial=0)["failure"]
    assert failure is not None
    assert failure["cause"] == "lost"
    until(lambda: not is_alive(pid), what="the process that it left to be killed", seconds=60)
    (daemon.home / "go").touch()
    daemon.until_in("done", "lost")
    lost, again = daemon.study("lost").trials
    assert (lost.user_attrs["FAILURE"]["cause"], again.value) == ("lost", 0.0)
    [record] = [each for each in daemon.logged() if each["event"] == "trial given back"]
    assert (record["experiment"], record["trial"], record["cause"]) == ("lost", 0, "lost")
    assert daemon.summary("lost")["evaluations"] == 1
    assert len(daemon.keepers()) == 1
    assert daemon.keepers() != {keeper}
    assert daemon.status()["state"] == "running"


def test_a_daemon_that_stops_waits_for_its_keeper(daemon: Daemon) -> None:
    assert len(daemon.keepers()) == 1
    assert daemon.abort() == 0
    assert daemon.processes() == set()
