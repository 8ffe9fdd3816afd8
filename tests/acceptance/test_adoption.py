"""Trials outlive their daemon: wherever in a trial's life that is killed, the next one goes on with it."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment, is_alive
from tests.integration.trial.trees import pid_in
from tests.waiting import until
from tuned.protocol.host import RunView
from tuned.storage.trials.trial_facts import MOST_SECONDS_AT_ONCE


@pytest.fixture
def either(make: MakeDaemon, database_url: str) -> Daemon:
    """A host of the test's own, running, on either database."""
    daemon = make(storage=database_url, slots=1)
    daemon.start().until_joined()
    return daemon


def waiting(home: Path, *, value: str = "$TUNED_PARAM_X", more: str = "[budget]\nevaluations = 1\n") -> str:
    """Its trials count themselves, write their process ids, and wait for a file."""
    script = f"echo $$ > {home}/pid; while [ ! -e {home}/go ]; do sleep 0.05; done"
    return an_experiment(script, high=0, more=more, count=home / "exp.count", value=value)


def of_the_one(daemon: Daemon) -> RunView | None:
    """The only trial that runs, if any does."""
    return next((slot["running"] for slot in daemon.status()["slots"] if slot["running"]), None)


def records(daemon: Daemon) -> list[Path]:
    return [*(daemon.state / "keeper" / "runs").glob("*.json")]


def is_told_once(daemon: Daemon) -> None:
    """The one trial has its value, nothing was begun twice, and nothing is left."""
    daemon.until_in("done", "exp")
    [trial] = daemon.study("exp").trials
    assert (trial.value, daemon.evaluations("exp")) == (0.0, {"0": 1})
    assert daemon.summary("exp")["evaluations"] == 1
    until(lambda: not records(daemon), what="the record to be forgotten")
    assert daemon.abort() == 0
    assert daemon.processes() == set()


def test_a_trial_runs_on_while_its_daemon_is_dead_and_is_adopted(either: Daemon) -> None:
    either.drop("exp", waiting(either.home))
    pid = pid_in(either.home / "pid")
    keepers = either.keepers()
    for _ in range(2):
        either.crash()
        assert is_alive(pid)
        either.start().until_running(1)
    assert either.keepers() == keepers
    running = of_the_one(either)
    assert running is not None
    assert running["is_adopted"]
    (either.home / "go").touch()
    is_told_once(either)


def test_a_trial_that_ends_while_its_daemon_is_dead_is_told_by_the_next_one(either: Daemon) -> None:
    either.drop("exp", waiting(either.home))
    pid = pid_in(either.home / "pid")
    either.crash()
    (either.home / "go").touch()
    until(lambda: not is_alive(pid) and len(records(either)) == 1, what="its end to be on the disk")
    # A wait of less is not kept.
    over = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=MOST_SECONDS_AT_ONCE)
    either.start().until_in("done", "exp")
    [trial] = either.trials("exp")
    assert trial["ended"] is not None
    assert dt.datetime.fromisoformat(trial["ended"]) <= over
    is_told_once(either)


def test_a_drain_that_comes_before_the_keeper_is_found_waits_for_what_that_has(either: Daemon) -> None:
    either.drop("exp", waiting(either.home))
    pid_in(either.home / "pid")
    [keeper] = either.keepers()
    either.crash()
    os.kill(keeper, signal.SIGSTOP)
    try:
        either.start().signal(signal.SIGINT)
        until(lambda: either.status()["state"] == "draining", what="it to drain")
    finally:
        os.kill(keeper, signal.SIGCONT)
    until(lambda: of_the_one(either) is not None, what="its trial to be adopted")
    (either.home / "go").touch()
    assert either.wait() == 0
    [trial] = either.study("exp").trials
    assert (trial.value, either.evaluations("exp")) == (0.0, {"0": 1})


def test_an_ending_that_the_daemon_had_not_heard_when_the_keeper_died_is_told(either: Daemon) -> None:
    # It says more than the socket takes, while its daemon, which has adopted it, hears nothing.
    count = f"echo $$ > {either.home}/pid; while [ ! -e {either.home}/go ]; do sleep 0.05; done; "
    flood = """seq 20000 | sed 's/.*/{{"step": &, "value": 1}}/'"""
    budget = "[budget]\nevaluations = 1\n"
    either.drop("exp", an_experiment(count + flood, high=0, more=budget, count=either.home / "exp.count"))
    pid = pid_in(either.home / "pid")
    either.crash()
    either.start().until_running(1)
    [keeper] = either.keepers()
    either.signal(signal.SIGSTOP)
    (either.home / "go").touch()
    until(lambda: not is_alive(pid) and records(either), what="its end to be on the disk")
    os.kill(keeper, signal.SIGKILL)
    either.signal(signal.SIGCONT)
    is_told_once(either)


def test_a_trial_that_was_being_killed_is_gone_and_not_adopted(make: MakeDaemon) -> None:
    daemon = make()
    daemon.configure(slots=1, grace="2s", expire="30s")
    daemon.start()
    script = (
        f"trap 'touch {daemon.home}/told' TERM; echo $$ > {daemon.home}/pid; while :; do sleep 0.05; done"
    )
    daemon.drop("exp", an_experiment(script, high=0))
    pid = pid_in(daemon.home / "pid")
    cancelling = daemon.tunectl_started("cancel", "exp")
    until((daemon.home / "told").exists, what="it to be told to end")
    daemon.crash()
    cancelling.communicate()
    assert is_alive(pid)
    daemon.start().until_in("cancelled", "exp")
    assert not is_alive(pid)
    [trial] = daemon.study("exp").trials
    assert (trial.state.name, trial.user_attrs["FAILURE"]["cause"]) == ("FAIL", "lost")


def test_attempts_and_replicates_are_counted_on_through_the_deaths_of_daemons(either: Daemon) -> None:
    home = either.home
    # The second replicate crashes once; each attempt waits until the test has killed the daemon meanwhile.
    script = f"touch {home}/at-$TUNED_REPLICATE-$TUNED_ATTEMPT; "
    script += f"while [ ! -e {home}/go-$TUNED_REPLICATE-$TUNED_ATTEMPT ]; do sleep 0.05; done; "
    script += "[ $TUNED_REPLICATE$TUNED_ATTEMPT != 21 ] || exit 3"
    more = "[replicates]\ncount = 3\n[retry]\nattempts = 1\n[budget]\nevaluations = 4\n"
    either.drop(
        "exp", an_experiment(script, high=0, more=more, count=home / "exp.count", value="$TUNED_REPLICATE")
    )
    for attempt in ("1-1", "2-1", "2-2", "3-1"):
        until((home / f"at-{attempt}").exists, what=f"attempt {attempt} to begin", seconds=60)
        either.crash()
        (home / f"go-{attempt}").touch()
        either.start()
    either.until_in("done", "exp")
    [trial] = either.study("exp").trials
    assert (trial.value, trial.user_attrs["REPLICATES"]) == (2.0, [[1.0], [2.0], [3.0]])
    assert [each["cause"] for each in trial.user_attrs["RETRIED"]] == ["exit"]
    assert (either.summary("exp")["evaluations"], either.evaluations("exp")) == (4, {"0": 4})


def test_a_retry_goes_by_the_definition_of_its_trial(either: Daemon) -> None:
    home = either.home
    at = f"touch {home}/at-$TUNED_ATTEMPT; while [ ! -e {home}/go ]; do sleep 0.05; done; "

    def text(word: str, attempts: int) -> str:
        script = at + f"echo {word} >> {home}/words; [ $TUNED_ATTEMPT = 2 ] || exit 3"
        more = f"[retry]\nattempts = {attempts}\n[budget]\nevaluations = 2\n"
        return an_experiment(script, high=0, more=more)

    either.drop("exp", text("first", 1))
    until((home / "at-1").exists, what="the first attempt")
    (home / "exp.toml").write_text(text("second", 0))
    replaced = either.tunectl("submit", "--replace", str(home / "exp.toml"))
    assert (replaced.returncode, replaced.stderr) == (0, "")
    either.crash()
    either.start().until_running(1)
    (home / "go").touch()
    either.until_in("done", "exp")
    assert (home / "words").read_text() == "first\nfirst\n"
    [trial] = either.study("exp").trials
    assert (trial.value, [each["cause"] for each in trial.user_attrs["RETRIED"]]) == (0.0, ["exit"])


def test_live_values_and_pruning_go_on(either: Daemon) -> None:
    home = either.home
    report = """printf '{{"step": %s, "value": %s}}\\n' """
    script = f"{report} 1 5; touch {home}/reported; "
    script += f"while [ ! -e {home}/go ]; do sleep 0.05; done; {report} 2 50; sleep 600"
    more = '[budget]\ntrials = 1\n[pruner]\nname = "threshold"\nupper = 10\n'
    either.drop("exp", an_experiment(script, high=0, more=more))
    until((home / "reported").exists, what="a report")
    until(lambda: newest(either) == 1, what="it to be heard")
    either.crash()
    either.start().until_running(1)
    assert newest(either) == 1
    (home / "go").touch()
    either.until_in("done", "exp")
    [trial] = either.study("exp").trials
    assert (trial.state.name, trial.intermediate_values) == ("PRUNED", {1: 5.0, 2: 50.0})


def test_a_trial_that_was_being_pruned_is_pruned(make: MakeDaemon, database_url: str) -> None:
    daemon = make(storage=database_url)
    daemon.configure(slots=1, grace="3s", expire="30s")
    daemon.start()
    home = daemon.home
    script = f"trap 'touch {home}/told' TERM; echo $$ > {home}/pid; "
    script += """printf '{{"step": 1, "value": 50}}\\n'; while :; do sleep 0.05; done"""
    more = '[budget]\ntrials = 1\n[pruner]\nname = "threshold"\nupper = 10\n'
    daemon.drop("exp", an_experiment(script, high=0, more=more))
    pid = pid_in(home / "pid")
    until((home / "told").exists, what="it to be told to end")
    daemon.crash()
    daemon.start().until_in("done", "exp")
    assert not is_alive(pid)
    [trial] = daemon.study("exp").trials
    assert (trial.state.name, trial.user_attrs["PRUNED"]["rule"]) == ("PRUNED", "threshold")


def test_a_python_objective_that_asks_while_no_daemon_is_there_is_answered_by_the_next_one(
    either: Daemon,
) -> None:
    home = either.home
    (home / "asking.py").write_text(ASKING.format(home=str(home)))
    objective = f'[objective]\npython = "asking:objective"\npath = "{home}"\n'
    space = '[space.x]\ntype = "int"\nlow = 0\nhigh = 0\n'
    either.drop("exp", objective + space + "[budget]\nevaluations = 1\n")
    pid = pid_in(home / "pid")
    either.crash()
    (home / "ask").touch()
    until((home / "asks").exists, what="it to ask")
    either.start().until_running(1)
    (home / "go").touch()
    either.until_in("done", "exp")
    [trial] = either.study("exp").trials
    assert (trial.value, trial.intermediate_values) == (0.0, {3: 0.5})
    assert ((home / "begun").read_text(), is_alive(pid)) == ("begun\n", False)


ASKING = """\
import os, pathlib, time

home = pathlib.Path({home!r})


def wait(name):
    while not (home / name).exists():
        time.sleep(0.05)


def objective(trial):
    x = trial.suggest_int("x", 0, 0)
    with (home / "begun").open("a") as begun:
        begun.write("begun\\n")
    trial.report(0.5, 3)
    (home / "pid").write_text(str(os.getpid()))
    wait("ask")
    (home / "asks").touch()
    assert trial.study.best_trials == []
    assert not trial.should_prune()
    wait("go")
    return x
"""


def newest(daemon: Daemon) -> int | None:
    """The step of the newest report of the trial that runs."""
    running = of_the_one(daemon)
    return None if running is None or running["report"] is None else running["report"]["step"]


def test_of_an_experiment_that_was_withdrawn_meanwhile_what_ended_is_told_and_the_rest_is_killed(
    daemon: Daemon,
) -> None:
    script = f"touch {daemon.home}/at-$TUNED_TRIAL; [ $TUNED_TRIAL = 0 ] || exec sleep 600; "
    script += f"while [ ! -e {daemon.home}/go ]; do sleep 0.05; done"
    daemon.drop("exp", an_experiment(script, high=1, more='[sampler]\nname = "grid"\n'))
    daemon.until_running(2)
    until(lambda: len([*daemon.home.glob("at-*")]) == 2, what="both to have begun")
    daemon.crash()
    (daemon.home / "go").touch()
    until(lambda: len(records(daemon)) == 1, what="the end of one to be on the disk")
    (daemon.spool / "active" / "exp.toml").unlink()
    daemon.start()

    def states() -> list[str]:
        return [each.state.name for each in daemon.study("exp").trials]

    until(
        lambda: states() == ["COMPLETE", "FAIL"],
        what=lambda: f"one to be told and the other to be settled, not {states()}; log:\n{daemon.log_tail()}",
        seconds=60,
    )
    assert (daemon.running(), daemon.trial_processes()) == (0, set())
    assert daemon.study("exp").trials[1].user_attrs["FAILURE"]["cause"] == "aborted"


def test_a_claim_that_the_database_forgot_meanwhile_is_claimed_again(make: MakeDaemon) -> None:
    daemon = make(slots=1)
    daemon.start().until_joined()
    gate = f"while [ ! -e {daemon.home}/go-$TUNED_TRIAL ]; do sleep 0.05; done"
    grid = '[sampler]\nname = "grid"\n'
    daemon.drop("exp", an_experiment(gate, high=1, more=grid, count=daemon.home / "exp.count"))
    until(lambda: daemon.evaluations("exp"), what="the first trial to begin")
    database, backup = daemon.state / "tuned.db", daemon.home / "backup.db"
    with closing(sqlite3.connect(database)) as now, closing(sqlite3.connect(backup)) as then:
        now.backup(then)
    (daemon.home / "go-0").touch()
    until(lambda: daemon.evaluations("exp").total() == 2, what="the second trial to begin")
    daemon.crash()
    for file in daemon.state.glob("tuned.db*"):
        file.unlink()
    shutil.copy(backup, database)
    daemon.start().until_running(1)
    until(lambda: len(daemon.study("exp").trials) == 2, what="its claim to be made again")
    (daemon.home / "go-1").touch()
    daemon.until_in("done", "exp")
    assert [each.state.name for each in daemon.study("exp").trials] == ["COMPLETE", "COMPLETE"]
    assert (daemon.summary("exp")["evaluations"], daemon.evaluations("exp")) == (2, {"0": 1, "1": 1})


def joined(daemon: Daemon) -> int:
    return sum(record["event"] == "host joined" for record in daemon.logged())


def test_no_trial_is_lost_on_its_way_to_the_keeper_by_a_restart(make: MakeDaemon, database_url: str) -> None:
    daemon = make(storage=database_url, slots=4)
    daemon.is_begun_anew = True
    daemon.start().until_joined()
    text = an_experiment(high=10**6, more='[sampler]\nname = "grid"\n', count=daemon.count_file("exp"))
    daemon.drop("exp", text)
    until(lambda: daemon.evaluations("exp"), what="trials", seconds=60)
    assert daemon.tunectl("restart").returncode == 0
    # Its successor is still joining the fleet, and has results that nobody tells yet.
    assert daemon.tunectl("drain", "--wait").returncode == 0
    assert daemon.wait() == 0
    before = joined(daemon)
    daemon.start()
    until(lambda: joined(daemon) > before, what="the daemon to join", seconds=60)
    assert daemon.tunectl("drain", "--wait").returncode == 0
    assert {trial.state.name for trial in daemon.study("exp").trials} == {"COMPLETE"}


def test_a_restart_takes_new_settings_if_they_are_right_and_no_trial_notices(make: MakeDaemon) -> None:
    daemon = make(slots=1)
    daemon.is_begun_anew = True
    daemon.start().until_joined()
    daemon.drop("exp", waiting(daemon.home))
    pid_in(daemon.home / "pid")
    before = daemon.status()["pid"]
    broken = daemon.config.read_text().replace("slots = 1", "slots = 0")
    daemon.config.write_text(f"no_such_key = 1\n{broken}")
    refused = daemon.tunectl("restart")
    assert (refused.returncode, "cannot restart: " in refused.stderr) == (1, True)
    assert all(key in refused.stderr for key in (str(daemon.config), "no_such_key", "slots: found 0"))
    daemon.until_running(1)
    daemon.configure(slots=3, host="alpha")
    restarted = daemon.tunectl("restart")
    assert (restarted.stdout, restarted.returncode) == ("restarted\n", 0), restarted.stderr
    daemon.until_running(1)
    assert (daemon.status()["pid"], len(daemon.status()["slots"])) == (before, 3)
    (daemon.home / "go").touch()
    is_told_once(daemon)
