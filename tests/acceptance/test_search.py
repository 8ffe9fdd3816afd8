"""The meaning of the experiment file's words, from the file to what plain Optuna reads."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tests.acceptance.daemon import Daemon, an_experiment, checked
from tests.waiting import until
from tuned.protocol.trials import StoryView

GRID = '[sampler]\nname = "grid"\n'
RANDOM = '[sampler]\nname = "random"\nseed = 1\n'


def gate(daemon: Daemon, name: str) -> Path:
    return daemon.home / f"{name}.gate"


def counted(daemon: Daemon, name: str, more: str, *, high: int, script: str = "true") -> str:
    return an_experiment(script, high=high, more=more, count=daemon.count_file(name))


def gated(daemon: Daemon, name: str, more: str, *, high: int) -> str:
    """No trial ends before the gate is open."""
    script = f"until test -e {gate(daemon, name)}; do sleep 0.05; done"
    return counted(daemon, name, more, high=high, script=script)


def trials(daemon: Daemon, name: str) -> list[FrozenTrial]:
    return daemon.study(name).trials


def is_duplicate(trial: FrozenTrial) -> bool:
    return "msg" in trial.user_attrs["HOST"]


def once(points: int) -> Counter[str]:
    return Counter({str(x): 1 for x in range(points)})


# The space


def test_a_grid_visits_each_point_of_a_mixed_space_once(shared: Daemon) -> None:
    count = shared.count_file("mixed")
    summary = shared.run("mixed", checked(f"""
        [objective]
        command = ["sh", "-c", "echo {{rate}} {{kind}} >> {count}; echo {{rate}}"]
        [sampler]
        name = "grid"
        [space.rate]
        type = "float"
        low = 0.0
        high = 1.0
        step = 0.1
        [space.kind]
        type = "categorical"
        choices = ["a", "b"]
        """))  # fmt: skip
    rates = [f"0.{tenth}" for tenth in range(10)] + ["1.0"]
    assert shared.evaluations("mixed") == Counter(f"{r} {kind}" for r in rates for kind in "ab")
    assert (summary["visited"], summary["space_size"], summary["trials"]) == (22, 22, 22)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "nsgaii", "qmc"])
def test_a_finite_space_ends_for_every_sampler(shared: Daemon, sampler: str) -> None:
    name = f"ends-{sampler}"
    shared.run(name, counted(shared, name, f'[sampler]\nname = "{sampler}"\nseed = 3\n', high=7))
    assert shared.evaluations(name) == once(8)
    assert {trial.params["x"] for trial in trials(shared, name)} == set(range(8))


# The budget


def test_the_budget_of_trials_is_exact_with_several_slots(shared: Daemon) -> None:
    summary = shared.run("trials", counted(shared, "trials", RANDOM + "[budget]\ntrials = 13\n", high=30))
    assert summary["trials"] == 13
    assert len(trials(shared, "trials")) == 13
    evaluated = [trial for trial in trials(shared, "trials") if not is_duplicate(trial)]
    assert sum(shared.evaluations("trials").values()) == len(evaluated) == summary["evaluations"]


def test_duplicates_do_not_count_as_evaluations(shared: Daemon) -> None:
    more = RANDOM + "[budget]\nevaluations = 9\n[dedup]\npatience = 50\n"
    summary = shared.run("evaluations", counted(shared, "evaluations", more, high=10))
    assert sum(shared.evaluations("evaluations").values()) == 9
    assert summary["evaluations"] == 9
    assert summary["trials"] == len(trials(shared, "evaluations"))


def test_each_retry_counts_as_an_evaluation(shared: Daemon) -> None:
    # A crash before the first value would not be charged.
    more = GRID + "[budget]\nevaluations = 7\n[retry]\nattempts = 2\n[[points]]\nx = 0\n"
    script = "test $TUNED_PARAM_X = 0 || exit 3"
    shared.run("retries", "parallel = 1\n" + counted(shared, "retries", more, high=50, script=script))
    assert sum(shared.evaluations("retries").values()) == 7
    states = [trial.state for trial in trials(shared, "retries")]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]


def test_when_the_time_is_over_nothing_new_starts_and_what_runs_finishes(shared: Daemon) -> None:
    shared.drop("time", gated(shared, "time", GRID + '[budget]\ntime = "4s"\n', high=99))
    until(lambda: len(shared.evaluations("time")) == 4, what="all slots to be busy")
    until(lambda: not shared.summary("time")["seconds_left"], what="the time to be over")
    gate(shared, "time").touch()
    shared.until_in("done", "time")
    assert [trial.state for trial in trials(shared, "time")] == [TrialState.COMPLETE] * 4


# The order


def test_points_of_the_file_are_evaluated_first_and_in_order(shared: Daemon) -> None:
    points = "".join(f"[[points]]\nx = {x}\n" for x in (17, 3, 11))
    text = counted(shared, "points", RANDOM + "[budget]\ntrials = 5\n" + points, high=30)
    shared.run("points", "parallel = 1\n" + text)
    assert [trial.params["x"] for trial in trials(shared, "points")][:3] == [17, 3, 11]


def test_aborted_points_go_ahead_of_the_sampler(daemon: Daemon) -> None:
    daemon.drop("freed", gated(daemon, "freed", RANDOM, high=10**6))
    daemon.until_running(2)
    assert daemon.abort() == 0
    aborted = [trial.params["x"] for trial in trials(daemon, "freed")]
    daemon.start().until_running(2)
    assert [trial.params["x"] for trial in trials(daemon, "freed")] == aborted * 2


# Duplicates


def twins(found: list[FrozenTrial]) -> list[tuple[FrozenTrial, FrozenTrial]]:
    """Each duplicate with the trial that it names."""
    return [(trial, found[trial.user_attrs["HOST"]["number"]]) for trial in found if is_duplicate(trial)]


def host_attribute(message: str, number: int) -> dict[str, Any]:
    """The contract's own form."""
    return {"host": "alpha", "msg": message, "number": number, "HOST_s": "alpha"}


def test_reuse_gives_a_duplicate_the_values_of_its_twin(shared: Daemon) -> None:
    more = RANDOM + '[dedup]\non_complete = "reuse"\npatience = 1000\n'
    shared.run("reuse", "parallel = 1\n" + counted(shared, "reuse", more, high=19))
    assert shared.evaluations("reuse") == once(20)
    pairs = twins(trials(shared, "reuse"))
    assert pairs
    for trial, twin in pairs:
        assert (trial.state, trial.values, trial.params) == (TrialState.COMPLETE, twin.values, twin.params)
        assert trial.user_attrs["HOST"] == host_attribute("COMPLETE", twin.number)
        assert twin.user_attrs["HOST"] == {"host": "alpha"}


def test_resample_of_complete_points_makes_no_trial(shared: Daemon) -> None:
    more = RANDOM + '[dedup]\non_complete = "resample"\npatience = 1000\n'
    shared.run("resample", "parallel = 1\n" + counted(shared, "resample", more, high=19))
    assert shared.evaluations("resample") == once(20)
    assert len(trials(shared, "resample")) == 20


def test_evaluate_runs_complete_points_again_until_all_are_visited(shared: Daemon) -> None:
    more = RANDOM + '[dedup]\non_complete = "evaluate"\n'
    # In one of 300,000 runs, the sampler draws each of 15 points once; of 10 points, in one of 3,000.
    shared.run("again", "parallel = 1\n" + counted(shared, "again", more, high=14))
    evaluated = shared.evaluations("again")
    assert evaluated.keys() == once(15).keys()
    assert evaluated.total() == len(trials(shared, "again")) > 15
    assert not any(is_duplicate(trial) for trial in trials(shared, "again"))


def test_skip_fails_a_duplicate_of_a_running_point(shared: Daemon) -> None:
    shared.drop("skip", gated(shared, "skip", RANDOM + '[dedup]\non_running = "skip"\n', high=1))
    until(lambda: len(shared.evaluations("skip")) == 2, what="two slots to hold both points")
    until(lambda: shared.summary("skip")["counts"]["skipped"] >= 3, what="duplicates of the other two")
    gate(shared, "skip").touch()
    shared.until_in("done", "skip")
    assert shared.evaluations("skip") == once(2)
    skipped = [pair for pair in twins(trials(shared, "skip")) if pair[0].state is TrialState.FAIL]
    assert len(skipped) >= 3
    for trial, twin in skipped:
        assert (trial.values, trial.params) == (None, twin.params)
        assert trial.user_attrs["HOST"] == host_attribute("RUNNING", twin.number)


def test_slots_are_idle_when_all_that_is_left_is_held(shared: Daemon) -> None:
    more = RANDOM + '[dedup]\non_running = "resample"\non_complete = "resample"\n'
    shared.drop("held", gated(shared, "held", more, high=1))
    until(lambda: len(shared.evaluations("held")) == 2, what="both points to run")
    # Another experiment gets the slots that have nothing to do.
    shared.run("beside-held", counted(shared, "beside-held", GRID, high=5))
    assert shared.place_of("held") == "active"
    gate(shared, "held").touch()
    shared.until_in("done", "held")
    assert shared.evaluations("held") == once(2)
    assert len(trials(shared, "held")) == 2


def test_evaluate_runs_a_running_point_beside_itself(shared: Daemon) -> None:
    more = RANDOM + '[budget]\ntrials = 4\n[dedup]\non_running = "evaluate"\n'
    shared.drop("beside", gated(shared, "beside", more, high=1))
    until(lambda: shared.evaluations("beside").total() == 4, what="all slots to be busy with two points")
    gate(shared, "beside").touch()
    shared.until_in("done", "beside")
    assert [trial.state for trial in trials(shared, "beside")] == [TrialState.COMPLETE] * 4
    assert {trial.params["x"] for trial in trials(shared, "beside")} <= {0, 1}


def test_wait_parks_a_duplicate_without_a_trial_until_its_twin_ends(shared: Daemon) -> None:
    more = RANDOM + '[budget]\ntrials = 6\n[dedup]\non_running = "wait"\npatience = 1000\n'
    shared.drop("wait", gated(shared, "wait", more, high=1))
    until(lambda: len(shared.evaluations("wait")) == 2, what="two slots to hold both points")
    until(lambda: shared.summary("wait")["counts"]["waiting"], what="a duplicate to be parked")
    assert len(trials(shared, "wait")) == shared.summary("wait")["trials"] <= 2
    gate(shared, "wait").touch()
    shared.until_in("done", "wait")
    assert shared.evaluations("wait") == once(2)
    assert {trial.state for trial in trials(shared, "wait")} == {TrialState.COMPLETE}


def origin(daemon: Daemon, name: str, number: int) -> str | None:
    story = daemon.client.get(f"/v1/experiments/{name}/trials/{number}", StoryView)
    return story["origin"]


def test_after_patience_duplicates_in_a_row_an_unvisited_point_is_drawn(shared: Daemon) -> None:
    more = RANDOM + "[dedup]\npatience = 2\n"
    shared.run("patience", "parallel = 1\n" + counted(shared, "patience", more, high=29))
    found = trials(shared, "patience")
    runs = [len(list(group)) for alike, group in itertools.groupby(found, is_duplicate) if alike]
    # Each of the four slots counts its own.
    assert 0 < max(runs) <= 8
    assert {origin(shared, "patience", trial.number) for trial in found} == {"sampler", "walk"}
    assert shared.evaluations("patience") == once(30)


# Studies of plain Optuna


def test_trials_of_plain_optuna_are_points_and_its_enqueued_ones_come_first(shared: Daemon) -> None:
    study = optuna.create_study(study_name="joined", storage=shared.storage)
    space = {"x": IntDistribution(0, 5)}
    study.add_trial(create_trial(params={"x": 1}, distributions=dict(space), value=1.0))
    study.enqueue_trial({"x": 4})
    study.enqueue_trial({"x": 2})
    shared.run("joined", "parallel = 1\n" + counted(shared, "joined", GRID, high=5))
    assert shared.evaluations("joined") == once(6) - Counter({"1": 1})
    found = trials(shared, "joined")
    assert [(trial.params["x"], trial.state) for trial in found[:3]] == [
        (1, TrialState.COMPLETE), (4, TrialState.COMPLETE), (2, TrialState.COMPLETE),
    ]  # fmt: skip
    begun = shared.count_file("joined").read_text().split()
    assert begun[:2] == ["4", "2"]


def test_running_trials_of_plain_optuna_are_left_alone(shared: Daemon) -> None:
    study = optuna.create_study(study_name="foreign", storage=shared.storage)
    study.ask({"x": IntDistribution(0, 3)})
    shared.run("foreign", counted(shared, "foreign", GRID, high=3))
    assert shared.evaluations("foreign") == once(4)
    assert trials(shared, "foreign")[0].state is TrialState.RUNNING


def test_an_enqueued_duplicate_of_a_running_point_waits_for_its_values(shared: Daemon) -> None:
    study = optuna.create_study(study_name="enqueued", storage=shared.storage)
    study.enqueue_trial({"x": 3})
    study.enqueue_trial({"x": 3})
    more = RANDOM + '[budget]\ntrials = 20\n[dedup]\non_running = "wait"\n'
    shared.drop("enqueued", "parallel = 2\n" + gated(shared, "enqueued", more, high=50))
    until(lambda: len(shared.evaluations("enqueued")) == 2, what="another point to run meanwhile")
    gate(shared, "enqueued").touch()
    shared.until_in("done", "enqueued")
    first, second = trials(shared, "enqueued")[:2]
    assert (second.state, second.values) == (TrialState.COMPLETE, first.values)
    assert second.user_attrs["HOST"] == host_attribute("COMPLETE", first.number)
    assert shared.evaluations("enqueued")["3"] == 1


def test_a_failed_point_is_visited_and_not_evaluated_again(shared: Daemon) -> None:
    script = "test $TUNED_PARAM_X != 2 || exit 1"
    summary = shared.run("failed", counted(shared, "failed", RANDOM, high=5, script=script))
    assert shared.evaluations("failed") == once(6)
    assert (summary["visited"], summary["counts"]["failed"]) == (6, 1)
