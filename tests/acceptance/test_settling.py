"""``tuned --settle``, which a service manager runs after a daemon that was killed."""

from __future__ import annotations

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment, gone
from tests.waiting import until


def settled(daemon: Daemon) -> int:
    daemon.launch("--settle")
    return daemon.wait(60)


def test_what_a_killed_daemon_left_is_ended_and_its_points_are_free(daemon: Daemon) -> None:
    daemon.drop("e", an_experiment("sleep 1000"))
    daemon.until_running(2)
    daemon.kill()
    assert settled(daemon) == 0
    assert {trial.state.name for trial in daemon.study("e").get_trials()} == {"FAIL"}
    until(gone(daemon.trial_processes), what="the trials' processes to end")


def test_without_the_database_it_gives_up_and_the_next_start_settles(make: MakeDaemon) -> None:
    away = make(storage="postgresql://nobody@127.0.0.1:1/away")
    assert settled(away) == 0
    assert "the next start settles what ran" in away.log_tail()
