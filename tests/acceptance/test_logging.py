"""The log of the real daemon: fields for machines, lines for people, secrets for nobody."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.waiting import until

GRID = '[sampler]\nname = "grid"\n'

FIELDS = {"host", "experiment", "trial", "slot", "attempt", "level", "timestamp"}


def records(daemon: Daemon, experiment: str) -> list[dict[str, Any]]:
    """Those about single trials of an experiment."""
    return [each for each in daemon.logged() if each.get("experiment") == experiment and "trial" in each]


def test_each_record_of_an_evaluation_tells_where_it_belongs(shared: Daemon) -> None:
    more = GRID + "[retry]\nattempts = 1\n"
    shared.run("logged", an_experiment("test $TUNED_PARAM_X != 1 || exit 4", high=2, more=more))
    found = records(shared, "logged")
    assert all(each.keys() >= FIELDS for each in found)
    assert {each["host"] for each in found} == {"alpha"}
    number = next(each["trial"] for each in found if each["event"] == "trial failed")
    steps = [(each["event"], each["attempt"], each["level"]) for each in found if each["trial"] == number]
    assert steps == [
        ("trial started", 1, "info"), ("trial retried", 1, "warning"), ("trial failed", 2, "warning"),
    ]  # fmt: skip


def test_each_record_of_a_duplicate_tells_its_twin(shared: Daemon) -> None:
    random = '[sampler]\nname = "random"\nseed = 1\n[dedup]\npatience = 1000\n'
    shared.run("doubled", "parallel = 1\n" + an_experiment(high=19, more=random))
    found = [each for each in records(shared, "doubled") if each["event"] == "duplicate"]
    assert found
    assert all(each.keys() >= FIELDS - {"attempt"} | {"twin", "action"} for each in found)


def test_each_aborted_trial_is_told_once_with_its_slot(daemon: Daemon) -> None:
    daemon.drop("aborted", an_experiment("sleep 1000", more=GRID))
    daemon.until_running(2)
    assert daemon.abort() == 0
    found = [each for each in records(daemon, "aborted") if each["event"] == "trial aborted"]
    assert sorted((each["trial"], each["slot"]) for each in found) in ([(0, 0), (1, 1)], [(0, 1), (1, 0)])
    assert all(each.keys() >= FIELDS for each in found)


def test_the_log_tells_the_life_of_the_daemon_in_json_lines_only(daemon: Daemon) -> None:
    daemon.run("lived", an_experiment(high=2, more=GRID))
    daemon.signal(signal.SIGHUP)
    until(lambda: "configuration reloaded" in daemon.log_tail(), what="the reload")
    daemon.signal(signal.SIGINT)
    assert daemon.wait() == 0
    lines = daemon.log.read_text().splitlines()
    parsed = [json.loads(line) for line in lines]
    states = [each["state"] for each in parsed if each["event"] == "host state"]
    assert states == ["running", "draining", "stopped"]
    assert not [each for each in parsed if each["level"] == "error"]


def test_the_console_log_has_one_readable_line_for_each_record(make: MakeDaemon) -> None:
    daemon = make()
    daemon.launch("--log-format", "console")
    daemon.drop("read", an_experiment(high=2, more=GRID))
    daemon.until_in("done", "read")
    assert daemon.abort() == 0
    lines = daemon.log.read_text().splitlines()
    assert all(re.match(r"[-0-9]{10} [:0-9]{8} \[(info|warning) *\] \S", line) for line in lines), lines
    started = next(line for line in lines if "trial started" in line)
    assert re.search(r"trial started +experiment='read' trial=\d slot=\d attempt=1 ", started)


# Secrets


@pytest.fixture
def with_password(make: MakeDaemon, postgresql_url: str) -> Daemon:
    daemon = make(storage=postgresql_url.replace("postgres@", "postgres:sesame@"))
    assert "sesame" in daemon.config.read_text()
    return daemon


def test_a_password_in_the_configuration_is_never_shown(with_password: Daemon) -> None:
    daemon = with_password.start()
    daemon.run("secret", an_experiment("env; exit 2", high=1, more=GRID))
    daemon.signal(signal.SIGHUP)
    until(lambda: "configuration reloaded" in daemon.log_tail(), what="the reload")
    commands = (["status"], ["status", "--json"], ["show", "secret"], ["logs", "secret"], ["list"])
    shown = [daemon.tunectl(*command) for command in commands]
    assert all(each.returncode == 0 for each in shown)
    assert daemon.abort() == 0
    assert "sesame" not in daemon.log.read_text() + "".join(each.stdout + each.stderr for each in shown)


def test_a_password_is_not_shown_when_the_database_cannot_be_reached(make: MakeDaemon) -> None:
    daemon = make(storage="postgresql://tuned:sesame@127.0.0.1:1/tuned").start()
    until(lambda: not daemon.status()["database"]["reachable"], what="the database to be away")
    status = daemon.tunectl("status", "--json")
    assert "127.0.0.1" in status.stdout
    assert daemon.abort() == 0
    assert "sesame" not in daemon.log.read_text() + status.stdout


def test_check_config_shows_what_would_be_used_without_the_password(with_password: Daemon) -> None:
    arguments = [sys.executable, "-m", "tuned", "--config", str(with_password.config), "--check-config"]
    shown = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60)
    assert "slots = 2" in shown.stdout
    assert "sesame" not in shown.stdout + shown.stderr
