"""How the daemon stops, and what it finds when it starts again."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from pathlib import Path

import optuna
import pytest

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment, gone
from tests.waiting import until
from tuned.errors import TunedError

GRID = '[sampler]\nname = "grid"\n'

#: Waits until a person lets it go on; what it waits for is in the daemon's directory.
HELD = "while [ ! -e {gate} ]; do sleep 0.02; done"


def gated(daemon: Daemon, name: str, *, high: int = 5) -> str:
    """A grid whose evaluations end once the gate is open."""
    script = HELD.format(gate=daemon.home / "gate")
    return an_experiment(script, high=high, more=GRID, count=daemon.count_file(name))


def open_gate(daemon: Daemon) -> None:
    (daemon.home / "gate").touch()


def states(daemon: Daemon, name: str) -> Counter[str]:
    return Counter(trial.state.name for trial in daemon.study(name).trials)


def causes(daemon: Daemon, name: str) -> Counter[str]:
    failed = daemon.study(name).get_trials(states=[optuna.trial.TrialState.FAIL])
    return Counter(trial.user_attrs["FAILURE"]["cause"] for trial in failed)


def complete_points(daemon: Daemon, name: str) -> list[int]:
    return sorted(trial.params["x"] for trial in daemon.study(name).trials if trial.values is not None)


# Abort


def test_sigterm_aborts_at_once_and_leaves_no_process_and_nothing_running(daemon: Daemon) -> None:
    daemon.drop("held", gated(daemon, "held"))
    daemon.until_running(2)
    assert daemon.abort() == 0
    assert daemon.processes() == set()
    assert states(daemon, "held") == {"FAIL": 2}
    assert causes(daemon, "held") == {"aborted": 2}
    assert daemon.place_of("held") == "active"


def test_the_start_after_an_abort_evaluates_what_is_missing_and_nothing_again(daemon: Daemon) -> None:
    daemon.drop("again", an_experiment("sleep 0.05", high=12, more=GRID, count=daemon.count_file("again")))
    until(lambda: len(daemon.evaluations("again")) >= 5, what="the first trials")
    daemon.abort()
    done = complete_points(daemon, "again")
    daemon.start().until_in("done", "again")
    assert complete_points(daemon, "again") == list(range(13))
    assert {x: daemon.evaluations("again")[str(x)] for x in done} == dict.fromkeys(done, 1)
    assert daemon.summary("again")["trials"] == 13


def test_points_that_were_aborted_go_ahead_of_new_ones(daemon: Daemon) -> None:
    daemon.drop("first-again", gated(daemon, "first-again", high=9))
    daemon.until_running(2)
    until(lambda: len(daemon.evaluations("first-again")) == 2, what="two trials to begin")
    aborted = set(daemon.evaluations("first-again"))
    daemon.abort()
    daemon.start().until_running(2)
    until(lambda: sum(daemon.evaluations("first-again").values()) == 4, what="two trials to begin again")
    assert daemon.evaluations("first-again") == dict.fromkeys(aborted, 2)


def test_a_sigterm_during_the_start_ends_it_cleanly(make: MakeDaemon) -> None:
    daemon = make()
    daemon.launch()
    until(daemon.socket.exists, what="the socket", seconds=60)
    assert daemon.abort() == 0
    assert not daemon.socket.exists()


def test_grace_lets_a_trial_end_by_itself_before_it_is_killed(make: MakeDaemon) -> None:
    daemon = make()
    daemon.configure(slots=1, grace="60s", expire="90s")
    script = (
        f"trap 'touch {daemon.home}/told; exit 0' TERM; touch {daemon.home}/on; while :; do sleep 0.02; done"
    )
    daemon.start().drop("graceful", an_experiment(script))
    until((daemon.home / "on").exists, what="the trial to begin")
    assert daemon.abort() == 0
    assert (daemon.home / "told").exists()


# Drain


def test_sigint_lets_what_runs_finish_and_starts_nothing_more(daemon: Daemon) -> None:
    daemon.drop("drained", gated(daemon, "drained"))
    daemon.until_running(2)
    daemon.signal(signal.SIGINT)
    daemon.until_state("draining")
    open_gate(daemon)
    assert daemon.wait() == 0
    assert states(daemon, "drained") == {"COMPLETE": 2}
    assert daemon.place_of("drained") == "active"


def test_a_second_sigint_aborts(daemon: Daemon) -> None:
    daemon.drop("twice", gated(daemon, "twice"))
    daemon.until_running(2)
    daemon.signal(signal.SIGINT)
    daemon.until_state("draining")
    daemon.signal(signal.SIGINT)
    assert daemon.wait() == 0
    assert causes(daemon, "twice") == {"aborted": 2}
    assert daemon.processes() == set()


def test_tunectl_drain_can_wait_for_the_end(daemon: Daemon) -> None:
    daemon.drop("waited", gated(daemon, "waited"))
    daemon.until_running(2)
    waiting = daemon.tunectl_started("drain", "--wait")
    daemon.until_state("draining")
    assert waiting.poll() is None
    open_gate(daemon)
    assert daemon.wait() == 0
    assert waiting.wait(20) == 0
    assert waiting.stdout is not None
    waiting.stdout.close()
    assert states(daemon, "waited") == {"COMPLETE": 2}


def test_tunectl_abort_is_a_sigterm(daemon: Daemon) -> None:
    daemon.drop("aborted", gated(daemon, "aborted"))
    daemon.until_running(2)
    assert daemon.tunectl("abort").returncode == 0
    assert daemon.wait() == 0
    assert causes(daemon, "aborted") == {"aborted": 2}


# A killed daemon


def test_after_a_kill_the_next_start_settles_what_ran_and_kills_what_is_left(daemon: Daemon) -> None:
    daemon.drop("killed", gated(daemon, "killed"))
    daemon.until_running(2)
    daemon.kill()
    orphans = daemon.processes()
    assert orphans
    assert states(daemon, "killed") == {"RUNNING": 2}
    open_gate(daemon)
    daemon.start()
    until(lambda: not orphans & daemon.processes(), what="the old trials' processes to be gone")
    daemon.until_in("done", "killed")
    assert complete_points(daemon, "killed") == list(range(6))
    assert causes(daemon, "killed") == {"lost": 2}
    assert states(daemon, "killed") == {"COMPLETE": 6, "FAIL": 2}


def test_what_had_a_value_before_a_kill_is_not_evaluated_again(daemon: Daemon) -> None:
    daemon.drop("kept", an_experiment("sleep 0.05", high=20, more=GRID, count=daemon.count_file("kept")))
    until(lambda: len(daemon.evaluations("kept")) >= 6, what="the first trials")
    daemon.kill()
    done = complete_points(daemon, "kept")
    daemon.start().until_in("done", "kept")
    assert {x: daemon.evaluations("kept")[str(x)] for x in done} == dict.fromkeys(done, 1)
    assert complete_points(daemon, "kept") == list(range(21))


# Reload


def test_sighup_takes_over_more_and_fewer_slots(daemon: Daemon) -> None:
    daemon.drop("resized", gated(daemon, "resized"))
    daemon.until_running(2)
    daemon.configure(slots=4)
    daemon.signal(signal.SIGHUP)
    daemon.until_running(4)
    daemon.configure(slots=1)
    daemon.signal(signal.SIGHUP)
    open_gate(daemon)
    daemon.until_in("done", "resized")
    until(lambda: len(daemon.status()["slots"]) == 1, what="one slot to be left")


def test_a_broken_configuration_changes_nothing(daemon: Daemon) -> None:
    daemon.config.write_text("slots = 'many'\n")
    daemon.signal(signal.SIGHUP)
    until(
        lambda: any(record["event"] == "configuration not reloaded" for record in daemon.logged()),
        what="the mistake to be told",
    )
    assert len(daemon.status()["slots"]) == 2
    assert daemon.status()["state"] == "running"


# systemd


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    """Where systemd would listen."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(60)
    return listener


def until_told(manager: socket.socket, message: str) -> list[str]:
    told: list[str] = []
    while not (told and told[-1].startswith(message)):
        told.append(manager.recv(4096).decode())
    return told


def test_systemd_is_told_ready_when_it_serves_then_reloading_and_stopping(
    make: MakeDaemon, manager: socket.socket
) -> None:
    daemon = make()
    daemon.environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1000000"}
    with manager:
        daemon.launch()
        until_told(manager, "READY=1")
        assert daemon.status()["state"] == "running"
        until_told(manager, "WATCHDOG=1")
        assert "running: 0 of 2 slots busy" in until_told(manager, "STATUS=")[-1]
        daemon.signal(signal.SIGHUP)
        until_told(manager, "RELOADING=1")
        until_told(manager, "READY=1")
        daemon.signal(signal.SIGTERM)
        until_told(manager, "STOPPING=1")
        assert daemon.wait() == 0


def test_a_file_that_is_dropped_when_ready_was_told_is_taken(
    make: MakeDaemon, manager: socket.socket
) -> None:
    daemon = make()
    daemon.environment = {"NOTIFY_SOCKET": manager.getsockname()}
    with manager:
        daemon.launch()
        until_told(manager, "READY=1")
        daemon.drop("ready", an_experiment(high=1, more=GRID, count=daemon.count_file("ready")))
        daemon.until_in("done", "ready")


# Second daemons


def test_a_second_daemon_on_anything_of_ours_is_refused(daemon: Daemon, make: MakeDaemon) -> None:
    options = {
        "state": ["--state-dir", str(daemon.state)],
        "spool": ["--spool", str(daemon.spool)],
        "sock": ["--socket", str(daemon.socket)],
    }
    for name, taken in options.items():
        other = make(f"second-{name}")
        assert other.launch(*taken).wait(60) == 1
        assert "another daemon" in other.log_tail()
    assert daemon.status()["state"] == "running"


def test_the_socket_of_a_killed_daemon_is_replaced(daemon: Daemon) -> None:
    daemon.kill()
    assert daemon.socket.exists()
    with pytest.raises(TunedError):
        daemon.status()
    assert daemon.start().status()["state"] == "running"
    assert daemon.abort() == 0
    until(gone(daemon.processes), what="no process to be left")
