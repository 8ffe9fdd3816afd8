"""Signals and their counterparts in tunectl: what ends, what goes on, and what the next start finds."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.waiting import until


def gated(daemon: Daemon, name: str, *, quick: int = 0, more: str = "") -> str:
    """Ten points; those below ``quick`` end at once, the others when the gate opens."""
    script = f"test $TUNED_PARAM_X -lt {quick} || until test -e {gate(daemon)}; do sleep 0.05; done"
    return an_experiment(script, more=more + '[sampler]\nname = "grid"\n', count=daemon.count_file(name))


def gate(daemon: Daemon) -> Path:
    return daemon.home / "gate"


def states(daemon: Daemon, name: str) -> list[tuple[TrialState, str | None]]:
    """As plain Optuna reads them."""
    trials = daemon.study(name).trials
    return [(trial.state, trial.user_attrs.get("FAILURE", {}).get("cause")) for trial in trials]


def completed(daemon: Daemon, name: str) -> list[int]:
    trials = daemon.study(name).get_trials(states=[TrialState.COMPLETE])
    return sorted(trial.params["x"] for trial in trials)


ABORTED = (TrialState.FAIL, "aborted")
COMPLETE = (TrialState.COMPLETE, None)


@pytest.fixture
def busy(daemon: Daemon) -> Daemon:
    """Both slots run trials that end when the gate opens."""
    daemon.drop("busy", gated(daemon, "busy"))
    daemon.until_running(2)
    return daemon


def test_sigterm_leaves_no_process_and_no_trial_running(busy: Daemon) -> None:
    until(busy.trial_processes, what="a process of a trial")
    assert busy.abort() == 0
    assert not busy.processes()
    assert states(busy, "busy") == [ABORTED, ABORTED]
    assert busy.place_of("busy") == "active"
    assert not busy.socket.exists()


def test_after_an_abort_the_next_start_evaluates_exactly_what_is_missing(daemon: Daemon) -> None:
    daemon.drop("missing", gated(daemon, "missing", quick=5))
    daemon.until_running(2)
    until(lambda: sum(daemon.evaluations("missing").values()) >= 2, what="the first trials")
    assert daemon.abort() == 0
    finished, begun = completed(daemon, "missing"), daemon.evaluations("missing")
    gate(daemon).touch()
    daemon.start().until_in("done", "missing")
    once = {x for x in range(10) if x in finished or str(x) not in begun}
    evaluated = daemon.evaluations("missing")
    assert {x: evaluated[str(x)] for x in once} == dict.fromkeys(once, 1)
    # An interrupted point is evaluated again; one whose value was on its way to the database is not.
    assert set(evaluated.values()) <= {1, 2}
    assert completed(daemon, "missing") == list(range(10))


def test_points_that_were_aborted_go_ahead_of_new_ones(daemon: Daemon) -> None:
    daemon.drop("first-again", gated(daemon, "first-again"))
    daemon.until_running(2)
    until(lambda: len(daemon.evaluations("first-again")) == 2, what="two trials to begin")
    aborted = set(daemon.evaluations("first-again"))
    daemon.abort()
    daemon.start().until_running(2)
    until(lambda: sum(daemon.evaluations("first-again").values()) == 4, what="two trials to begin again")
    assert daemon.evaluations("first-again") == dict.fromkeys(aborted, 2)


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


def test_sigint_lets_what_runs_finish_and_starts_nothing_more(busy: Daemon) -> None:
    busy.signal(signal.SIGINT)
    busy.until_state("draining")
    gate(busy).touch()
    assert busy.wait() == 0
    assert states(busy, "busy") == [COMPLETE, COMPLETE]
    assert busy.place_of("busy") == "active"


def test_a_second_sigint_aborts(busy: Daemon) -> None:
    busy.signal(signal.SIGINT)
    busy.until_state("draining")
    busy.signal(signal.SIGINT)
    assert busy.wait() == 0
    assert not busy.processes()
    assert states(busy, "busy") == [ABORTED, ABORTED]


def test_draining_twice_by_tunectl_still_lets_what_runs_finish(busy: Daemon) -> None:
    assert busy.tunectl("drain").stdout == "draining\n"
    waiting = busy.tunectl_started("drain", "--wait")
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "draining\n"
    gate(busy).touch()
    assert waiting.wait(60) == 0
    waiting.stdout.close()
    assert busy.process is not None
    assert busy.process.poll() == 0, "it returned before the daemon had ended"
    assert states(busy, "busy") == [COMPLETE, COMPLETE]


def test_tunectl_abort_aborts_also_while_the_host_drains(busy: Daemon) -> None:
    assert busy.tunectl("drain").returncode == 0
    assert busy.tunectl("abort").stdout == "aborting\n"
    assert busy.wait() == 0
    assert states(busy, "busy") == [ABORTED, ABORTED]


def test_sighup_takes_over_more_and_fewer_slots(busy: Daemon) -> None:
    busy.configure(slots=4)
    busy.signal(signal.SIGHUP)
    busy.until_running(4)
    busy.configure(slots=1)
    busy.signal(signal.SIGHUP)
    until(lambda: reloads(busy) == 2, what="the second reload")
    assert busy.running() == 4
    gate(busy).touch()
    busy.until_in("done", "busy")
    assert len(busy.status()["slots"]) == 1
    assert set(busy.evaluations("busy").values()) == {1}


def reloads(daemon: Daemon) -> int:
    return sum(record["event"] == "configuration reloaded" for record in daemon.logged())


def test_a_configuration_that_cannot_be_read_now_holds_up_nothing_and_no_reload_is_lost(
    supervised: Daemon, systemd: ServiceManager
) -> None:
    systemd.until_told("READY=1")
    settings = supervised.config.read_text()
    supervised.config.unlink()
    # Nobody writes to it, so a reader waits when it opens it.
    os.mkfifo(supervised.config)
    supervised.signal(signal.SIGHUP)
    systemd.until_told("RELOADING=1")
    for _ in range(3):
        systemd.until_told("WATCHDOG=1")
    supervised.run("meanwhile", an_experiment(high=1))
    supervised.signal(signal.SIGHUP)
    for _ in range(2):
        supervised.config.write_text(settings)
        systemd.until_told("READY=1")
    assert reloads(supervised) == 2


def test_a_configuration_that_hangs_does_not_hold_up_the_stop(busy: Daemon) -> None:
    busy.config.unlink()
    os.mkfifo(busy.config)
    busy.signal(signal.SIGHUP)
    assert busy.running() == 2
    assert busy.abort() == 0
    assert states(busy, "busy") == [ABORTED, ABORTED]


def test_a_broken_configuration_changes_nothing(busy: Daemon) -> None:
    good = busy.config.read_text()
    busy.config.write_text(good.replace("slots = 2", 'slots = "many"'))
    busy.signal(signal.SIGHUP)
    refused = until(
        lambda: [each for each in busy.logged() if each["event"] == "configuration not reloaded"],
        what="the refusal",
    )
    assert "slots" in refused[0]["problems"]
    assert (busy.status()["state"], busy.running(), len(busy.status()["slots"])) == ("running", 2, 2)
    busy.config.write_text(good.replace("slots = 2", "slots = 3"))
    busy.signal(signal.SIGHUP)
    busy.until_running(3)


def test_a_reload_while_the_host_stops_is_refused_and_hurts_nobody(busy: Daemon) -> None:
    busy.signal(signal.SIGINT)
    busy.until_state("draining")
    busy.configure(slots=8)
    busy.signal(signal.SIGHUP)
    until(lambda: "configuration not reloaded" in busy.log_tail(), what="the refusal")
    gate(busy).touch()
    assert busy.wait() == 0
    assert states(busy, "busy") == [COMPLETE, COMPLETE]


def test_a_killed_daemons_next_start_settles_what_ran_and_keeps_what_was_finished(daemon: Daemon) -> None:
    daemon.drop("killed", gated(daemon, "killed", quick=5))
    daemon.until_running(2)
    until(lambda: stuck(daemon) == 2, what="both slots to wait at the gate")
    finished, begun = completed(daemon, "killed"), daemon.evaluations("killed")
    daemon.kill()
    left = daemon.processes()
    assert left
    daemon.start()
    until(lambda: not left & daemon.processes(), what="the leftover processes to be killed")
    gate(daemon).touch()
    daemon.until_in("done", "killed")
    assert {state for state, _ in states(daemon, "killed")} == {TrialState.COMPLETE, TrialState.FAIL}
    assert [cause for _, cause in states(daemon, "killed") if cause] == ["lost", "lost"]
    twice = {x for x in begun if int(x) not in finished}
    assert daemon.evaluations("killed") == {str(x): 2 if str(x) in twice else 1 for x in range(10)}
    assert completed(daemon, "killed") == list(range(10))


def stuck(daemon: Daemon) -> int:
    """How many trials have begun that will not end before the gate opens."""
    return sum(1 for x in daemon.evaluations("killed") if int(x) >= 5)


def test_a_daemon_that_is_killed_among_quick_trials_completes_each_point_once(daemon: Daemon) -> None:
    text = an_experiment(high=60, more='[sampler]\nname = "grid"\n', count=daemon.count_file("quick"))
    daemon.drop("quick", text)
    for share in (10, 30):
        until(lambda share=share: len(daemon.evaluations("quick")) >= share, what="some trials")  # type: ignore[misc]
        daemon.kill()
        daemon.start()
    daemon.until_in("done", "quick")
    assert completed(daemon, "quick") == list(range(61))
    assert TrialState.RUNNING not in {state for state, _ in states(daemon, "quick")}


def test_a_daemon_that_is_killed_again_and_again_leaves_nothing(daemon: Daemon) -> None:
    detached = "(setsid sh -c 'sleep 1000 & wait' &); sleep 0.05"
    text = an_experiment(
        detached, high=500, more='[sampler]\nname = "grid"\n', count=daemon.count_file("left")
    )
    daemon.drop("left", text)
    for begun in (1, 2, 4, 7):
        until(lambda begun=begun: len(daemon.evaluations("left")) >= begun, what="some trials")  # type: ignore[misc]
        daemon.kill()
        # They wait for nobody: what ran goes at the next start.
        until(lambda: not forking(daemon), what="the processes that fork trials to end")
        daemon.start()
    assert daemon.abort() == 0
    assert daemon.processes() == set()
    installation_id = json.loads((daemon.state / "installation.json").read_text())["installation_id"]
    # Not by rglob: groups of other tests go while it looks.
    groups = [Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup")]
    assert [each for each in groups if each.match(f"trials/{installation_id}*")] == []


def forking(daemon: Daemon) -> list[int]:
    """The processes from which trials are forked, and the copies of them that wait."""
    return [pid for pid in daemon.processes() if "tuned.worker" in cmdline(pid)]


def cmdline(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_text()
    except OSError:
        return ""


# The start


def test_sigterm_before_the_daemon_answers_ends_it_cleanly(make: MakeDaemon) -> None:
    daemon = make()
    daemon.is_begun_anew = True
    daemon.launch()
    until((daemon.state / "lock").exists, what="the daemon to begin")
    assert daemon.abort() == 0
    assert not daemon.socket.exists()


def test_sigterm_while_the_database_is_away_at_start_ends_the_daemon(make: MakeDaemon) -> None:
    daemon = make(storage="postgresql://tuned@127.0.0.1:1/tuned").start()
    until(lambda: not daemon.status()["database"]["reachable"], what="the database to be away")
    assert daemon.abort() == 0


# Messages to systemd


class ServiceManager:
    """The other end of NOTIFY_SOCKET; like the real one it reads all the time: senders wait for it."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        #: All messages, and how many of them ``until_told`` has passed.
        self.told: list[str] = []
        self._passed = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def until_told(self, text: str) -> None:
        """Waits for a message that begins so, after the one that was waited for last."""
        until(lambda: self._pass(text), what=f"{text!r}, told were {self.told}", seconds=60)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address)
        self._reader.join()
        self._socket.close()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            self.told.append(message.decode())

    def _pass(self, text: str) -> bool:
        for place in range(self._passed, len(self.told)):
            if self.told[place].startswith(text):
                self._passed = place + 1
                return True
        return False


@pytest.fixture
def systemd() -> Iterator[ServiceManager]:
    # Not in tmp_path: the address of a socket must be short.
    with tempfile.TemporaryDirectory() as directory:
        manager = ServiceManager(Path(directory, "notify"))
        yield manager
        manager.close()


@pytest.fixture
def supervised(make: MakeDaemon, systemd: ServiceManager) -> Daemon:
    """Launched only, by a service manager that wants to hear of it twice a second."""
    daemon = make()
    daemon.is_begun_anew = True
    daemon.environment |= {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
    daemon.launch()
    return daemon


def test_systemd_hears_ready_when_the_daemon_answers_and_takes_files(
    supervised: Daemon, systemd: ServiceManager
) -> None:
    systemd.until_told("READY=1")
    assert supervised.status()["state"] == "running"
    supervised.run("ready", an_experiment(high=1))
    assert systemd.told.count("READY=1") == 1


def test_systemd_hears_of_reloads_the_loops_turns_and_the_stop(
    supervised: Daemon, systemd: ServiceManager
) -> None:
    systemd.until_told("READY=1")
    for _ in range(3):
        systemd.until_told("WATCHDOG=1")
    systemd.until_told("STATUS=running: 0 of 2 slots busy, 0 experiments")
    supervised.signal(signal.SIGHUP)
    systemd.until_told("RELOADING=1\nMONOTONIC_USEC=")
    systemd.until_told("READY=1")
    supervised.signal(signal.SIGTERM)
    systemd.until_told("STOPPING=1")
    assert supervised.wait() == 0
