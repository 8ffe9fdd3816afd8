"""Several experiments on one host: they share its slots, and none can hurt another."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.acceptance.daemon import Daemon, an_experiment, first
from tests.waiting import until


def counted(daemon: Daemon, name: str, script: str = "true", *, high: int = 99, more: str = "") -> str:
    more += '[sampler]\nname = "grid"\n'
    return an_experiment(script, high=high, more=more, count=daemon.count_file(name))


def gated(daemon: Daemon, name: str, more: str = "") -> str:
    """No trial ends before the gate is open."""
    return counted(daemon, name, f"until test -e {gate(daemon, name)}; do sleep 0.05; done", more=more)


def gate(daemon: Daemon, name: str) -> Path:
    return daemon.home / f"{name}.gate"


def running(daemon: Daemon) -> Counter[str]:
    """How many slots each experiment has now."""
    found = [slot["running"] for slot in daemon.status()["slots"]]
    return Counter(run["experiment"] for run in found if run is not None)


def cancel(daemon: Daemon, *names: str) -> None:
    for name in names:
        assert daemon.tunectl("cancel", name).returncode == 0
        daemon.until_in("cancelled", name)


def test_two_experiments_get_as_many_slots_each_while_both_run(shared: Daemon) -> None:
    # Long enough that the pause between two trials of a slot, which varies, does not decide the shares.
    shared.drop("left", counted(shared, "left", "sleep 0.3", high=9999))
    until(lambda: shared.evaluations("left").total() >= 4, what="one experiment to have all slots")
    stream = shared.watching()
    shared.drop("right", counted(shared, "right", "sleep 0.3", high=9999))
    started = (event["experiment"] for event in stream if event["event"] == "trial-started")
    # Starts count from the first one of the second experiment on.
    assert any(name == "right" for name in started)
    shares = Counter(name for name, _ in zip(started, range(40), strict=False))
    cancel(shared, "left", "right")
    assert 15 <= shares["left"] <= 25, shares


def test_parallel_leaves_the_other_slots_to_others(shared: Daemon) -> None:
    shared.drop("single", "parallel = 1\n" + gated(shared, "single"))
    until(lambda: running(shared)["single"], what="the first trial")
    shared.drop("others", gated(shared, "others"))
    until(lambda: running(shared) == {"single": 1, "others": 3}, what="all slots to be busy")
    cancel(shared, "single", "others")


def test_an_experiment_that_never_succeeds_pauses_everywhere_and_slows_nobody(shared: Daemon) -> None:
    shared.drop("failing", counted(shared, "failing", "exit 3"))
    shared.run("healthy", counted(shared, "healthy", high=30))
    until(lambda: shared.summary("failing")["state"] == "paused", what="the pause")
    begun = shared.evaluations("failing").total()
    assert 5 <= begun <= 13, "four slots may have two more each under way while the results are told"
    until(lambda: shared.summary("failing")["counts"]["running"] == 0, what="the others to end")
    assert shared.summary("failing")["trials"] == 0, "nothing is charged"
    shown = " ".join(shared.tunectl("status").stdout.split())
    assert "never succeeded: 5 evaluations in a row failed alike" in shown
    assert "tunectl resume failing" in shown
    waited = shared.tunectl("wait", "failing")
    assert (waited.returncode, "failing is paused, no value: never succeeded" in waited.stdout) == (1, True)
    assert "tunectl resume failing" in shared.tunectl("doctor").stdout
    assert shared.tunectl("resume", "failing").stdout == "failing is open\n"
    until(lambda: shared.evaluations("failing").total() >= begun + 5, what="it to go on")
    cancel(shared, "failing")


def test_crashes_in_a_row_after_a_value_pause_it_on_their_host(shared: Daemon) -> None:
    crash = f"until test -e {gate(shared, 'late')}; do sleep 0.05; done; exit 3"
    script = f"if test $TUNED_PARAM_X = 1; then echo 1; else {crash}; fi"
    shared.drop("late", counted(shared, "late", script, high=60, more="[[points]]\nx = 1\n"))
    until(lambda: "late" in shared.tunectl("list").stdout, what="it to be opened")
    until(lambda: shared.summary("late")["counts"]["complete"], what="the first value")
    gate(shared, "late").touch()
    until(lambda: shared.summary("late")["is_paused_here"], what="the pause")
    summary = shared.summary("late")
    assert (summary["state"], summary["note"]) == (
        "open",
        "10 crashes in a row on this host; fix it, then: tunectl resume late",
    )
    assert "paused" in shared.tunectl("status").stdout
    assert shared.tunectl("wait", "late").returncode == 1
    cancel(shared, "late")


def test_a_paused_experiment_starts_nothing_until_it_is_resumed(shared: Daemon) -> None:
    shared.drop("paused", gated(shared, "paused"))
    until(lambda: running(shared)["paused"] == 4, what="all slots to be busy")
    stream = shared.watching()
    assert shared.tunectl("pause", "paused").stdout == "paused is paused\n"
    first(stream, "experiment-state", experiment="paused", state="paused")
    gate(shared, "paused").touch()
    until(lambda: shared.summary("paused")["counts"]["complete"] == 4, what="what ran to finish")
    # The slots have looked for more since then: they run another experiment.
    shared.run("meanwhile", counted(shared, "meanwhile", high=8))
    assert shared.evaluations("paused").total() == 4
    assert shared.place_of("paused") == "active"
    assert shared.tunectl("resume", "paused").stdout == "paused is open\n"
    shared.until_in("done", "paused")
    assert shared.evaluations("paused").total() == 100


def test_a_cancelled_experiments_trials_are_aborted_and_its_file_moves(shared: Daemon) -> None:
    shared.drop("cancelled", gated(shared, "cancelled"))
    until(lambda: running(shared)["cancelled"] == 4, what="all slots to be busy")
    stream = shared.watching()
    assert shared.tunectl("cancel", "cancelled").stdout == "cancelled is cancelled\n"
    shared.until_in("cancelled", "cancelled")
    ended = [next(event for event in stream if event["event"] == "trial-ended") for _ in range(4)]
    assert {event["failure"]["cause"] for event in ended if event["failure"]} == {"aborted"}
    causes = {trial.user_attrs["FAILURE"]["cause"] for trial in shared.study("cancelled").trials}
    assert causes == {"aborted"}
    assert not running(shared)
    until(lambda: not shared.trial_processes(), what="its processes to be gone")


def test_what_is_cancelled_or_done_cannot_be_paused_and_says_so(shared: Daemon) -> None:
    shared.run("over", counted(shared, "over", high=1))
    answer = shared.tunectl("pause", "over")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "tunectl: cannot pause the experiment: it is done\n"


def test_list_shows_all_experiments_the_ended_ones_too(shared: Daemon) -> None:
    shared.run("listed", counted(shared, "listed", high=1))
    found = json.loads(shared.tunectl("list", "--json").stdout)["experiments"]
    assert [each["state"] for each in found if each["name"] == "listed"] == ["done"]
