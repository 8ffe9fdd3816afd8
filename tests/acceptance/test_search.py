"""The words of docs/dedup.md, each as a person sees it."""

from __future__ import annotations

import json

import optuna
import pytest
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.waiting import until

X: dict[str, BaseDistribution] = {"x": IntDistribution(0, 9)}


def dedup(**policy: str | int) -> str:
    return "\n[dedup]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in policy.items()) + "\n"


def sampler(name: str, **options: int) -> str:
    return f'\n[sampler]\nname = "{name}"\n' + "\n".join(f"{key} = {value}" for key, value in options.items())


def budget(**limits: str | int) -> str:
    return "\n[budget]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in limits.items()) + "\n"


def counted(daemon: Daemon, name: str, script: str = "true", *, high: int = 9, more: str = "") -> str:
    return an_experiment(script, high=high, more=more, count=daemon.count_file(name))


def of_state(trials: list[FrozenTrial], state: TrialState) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state is state]


# Points and exhaustion


@pytest.mark.parametrize("name", ["tpe", "random", "cmaes", "nsgaii", "qmc", "grid", "bruteforce"])
def test_a_finite_space_ends_when_every_point_is_visited_whatever_the_sampler(
    shared: Daemon, name: str
) -> None:
    study = f"finite-{name}"
    summary = shared.run(study, counted(shared, study, high=5, more=sampler(name)))
    assert shared.evaluations(study) == {str(x): 1 for x in range(6)}
    assert (summary["state"], summary["visited"], summary["space_size"]) == ("done", 6, 6)


def test_failed_points_are_visited_and_counted(shared: Daemon) -> None:
    script = 'test "$TUNED_PARAM_X" != 2'
    summary = shared.run("some-fail", an_experiment(f"{script} || exit 3", high=4, more=sampler("grid")))
    assert (summary["counts"]["complete"], summary["counts"]["failed"], summary["visited"]) == (4, 1, 5)


def test_given_points_come_first_and_in_their_order(make: MakeDaemon) -> None:
    daemon = make(slots=1).start()
    points = "".join(f"[[points]]\nx = {x}\n" for x in (7, 3, 5))
    daemon.run("given", counted(daemon, "given", more=budget(trials=4) + sampler("random") + "\n" + points))
    begun = daemon.count_file("given").read_text().split()
    assert begun[:3] == ["7", "3", "5"]


# Duplicates


def test_reuse_is_a_complete_trial_with_the_twins_value_and_host(shared: Daemon) -> None:
    more = dedup(on_complete="reuse", on_running="wait", patience=1000) + sampler("random", seed=1)
    shared.run("reuse", counted(shared, "reuse", high=3, more=more + budget(trials=40)))
    trials = shared.study("reuse").trials
    twins = {trial.number: trial for trial in trials}
    reused = [trial for trial in trials if "msg" in trial.user_attrs["HOST"]]
    for trial in reused:
        host = trial.user_attrs["HOST"]
        assert host == {"host": "alpha", "msg": "COMPLETE", "number": host["number"], "HOST_s": "alpha"}
        assert (trial.params, trial.values) == (twins[host["number"]].params, twins[host["number"]].values)
    assert set(shared.evaluations("reuse").values()) == {1}
    assert len(trials) == len(reused) + len(shared.evaluations("reuse"))


def gated(daemon: Daemon, name: str, *, high: int, more: str) -> str:
    """Evaluations that end once the gate is open."""
    script = f"while [ ! -e {daemon.home / 'gate'} ]; do sleep 0.05; done"
    return counted(daemon, name, script, high=high, more=sampler("random", seed=1) + more)


def count(daemon: Daemon, name: str, kind: str) -> int:
    found = [each for each in daemon.status()["experiments"] if each["name"] == name]
    return int(found[0]["counts"][kind]) if found else 0  # type: ignore[literal-required]


def test_skip_is_a_failed_trial_that_names_its_running_twin(make: MakeDaemon) -> None:
    daemon = make(slots=3).start()
    more = dedup(on_running="skip", patience=1000) + budget(trials=30)
    daemon.drop("skip", gated(daemon, "skip", high=1, more=more))
    until(lambda: count(daemon, "skip", "skipped"), what="a duplicate to be skipped")
    [skipped, *_] = of_state(daemon.study("skip").trials, TrialState.FAIL)
    host = skipped.user_attrs["HOST"]
    assert (host["host"], host["msg"], host["HOST_s"]) == ("alpha", "RUNNING", "alpha")
    assert daemon.study("skip").trials[host["number"]].params == skipped.params
    (daemon.home / "gate").touch()
    daemon.until_in("done", "skip")


def test_wait_makes_no_trial_until_the_twin_has_ended(make: MakeDaemon) -> None:
    daemon = make(slots=3).start()
    more = dedup(on_running="wait", patience=1000) + budget(trials=6)
    daemon.drop("wait", gated(daemon, "wait", high=1, more=more))
    until(lambda: count(daemon, "wait", "waiting"), what="a duplicate to be parked")
    assert len(daemon.study("wait").trials) <= 2
    (daemon.home / "gate").touch()
    daemon.until_in("done", "wait")
    assert set(daemon.evaluations("wait").values()) == {1}


def test_resample_makes_no_trial_of_a_duplicate(shared: Daemon) -> None:
    more = dedup(on_complete="resample", on_running="resample", patience=2) + sampler("random", seed=1)
    shared.run("resample", counted(shared, "resample", high=5, more=more))
    assert len(shared.study("resample").trials) == 6
    assert shared.evaluations("resample") == {str(x): 1 for x in range(6)}


def test_evaluate_repeats_on_purpose(shared: Daemon) -> None:
    more = dedup(on_complete="evaluate", on_running="evaluate") + sampler("random", seed=1)
    shared.run("repeat", counted(shared, "repeat", high=2, more=more + budget(trials=3)))
    assert sum(shared.evaluations("repeat").values()) == 3


def test_after_patience_a_point_that_nobody_has_is_evaluated(make: MakeDaemon) -> None:
    daemon = make(slots=1).start()
    more = dedup(on_complete="reuse", patience=2) + sampler("random", seed=1)
    daemon.run("patient", counted(daemon, "patient", high=30, more=more))
    in_a_row, longest = 0, 0
    for trial in daemon.study("patient").trials:
        in_a_row = in_a_row + 1 if "msg" in trial.user_attrs["HOST"] else 0
        longest = max(longest, in_a_row)
    assert longest == 2
    assert len(daemon.evaluations("patient")) == 31


# Budgets


def test_trials_count_what_was_evaluated_reused_skipped_and_failed(shared: Daemon) -> None:
    more = sampler("random", seed=2) + budget(trials=25)
    script = 'test "$TUNED_PARAM_X" != 2 || exit 1'
    summary = shared.run("trials", counted(shared, "trials", script, high=99, more=more))
    assert len(shared.study("trials").trials) == 25
    counts = summary["counts"]
    assert counts["complete"] + counts["reused"] + counts["failed"] + counts["skipped"] == 25


def test_evaluations_count_each_retry(shared: Daemon) -> None:
    more = sampler("random", seed=2) + budget(evaluations=10) + "\n[retry]\nattempts = 1\n"
    summary = shared.run("evaluations", counted(shared, "evaluations", "exit 1", high=999, more=more))
    assert sum(shared.evaluations("evaluations").values()) == summary["evaluations"] == 10
    trials = shared.study("evaluations").trials
    assert sum(1 + len(trial.user_attrs.get("RETRIED", [])) for trial in trials) == 10
    assert any("RETRIED" in trial.user_attrs for trial in trials)


def test_when_the_time_is_over_nothing_new_starts_and_what_runs_ends(shared: Daemon) -> None:
    more = sampler("random", seed=2) + budget(time="1s")
    shared.run("timed", counted(shared, "timed", "sleep 0.3", high=10**6, more=more))
    trials = shared.study("timed").trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    begun = [trial.datetime_start for trial in trials if trial.datetime_start]
    assert (max(begun) - min(begun)).total_seconds() < 1.5


# Studies of plain Optuna


def plain_study(daemon: Daemon, name: str) -> optuna.Study:
    """Made by a script of plain Optuna."""
    return optuna.create_study(study_name=name, storage=daemon.storage)


def test_a_study_of_plain_optuna_goes_on_without_evaluating_its_points_again(shared: Daemon) -> None:
    study = plain_study(shared, "joined")
    for x in (1, 4):
        study.add_trial(create_trial(params={"x": x}, distributions=X, value=float(x)))
    study.add_trial(create_trial(params={"x": 5}, distributions={"x": IntDistribution(0, 50)}, value=5.0))
    study.ask(X)
    shared.run("joined", counted(shared, "joined", more=sampler("grid")))
    assert set(shared.evaluations("joined")) == {str(x) for x in range(10) if x not in (1, 4)}
    assert of_state(shared.study("joined").trials, TrialState.RUNNING)[0].number == 3


def test_enqueued_trials_are_run_first_and_as_themselves(shared: Daemon) -> None:
    study = plain_study(shared, "enqueued")
    study.enqueue_trial({"x": 8})
    shared.run("enqueued", counted(shared, "enqueued", more=sampler("tpe") + budget(trials=3)))
    [first, *_] = shared.study("enqueued").trials
    assert (first.number, first.state, first.params) == (0, TrialState.COMPLETE, {"x": 8})


def test_an_enqueued_trial_that_does_not_fit_ends_with_the_reason(shared: Daemon) -> None:
    study = plain_study(shared, "misfit")
    study.enqueue_trial({"x": 80})
    shared.run("misfit", counted(shared, "misfit", more=sampler("random") + budget(trials=3)))
    [first, *_] = shared.study("misfit").trials
    assert first.state is TrialState.FAIL
    assert "x" in first.user_attrs["FAILURE"]["message"]


def test_a_study_with_another_space_or_direction_is_refused_with_the_difference(shared: Daemon) -> None:
    study = plain_study(shared, "other-space")
    study.add_trial(
        create_trial(
            params={"x": "a"},
            distributions={"x": optuna.distributions.CategoricalDistribution(["a"])},
            value=1,
        )
    )
    shared.drop("other-space", an_experiment())
    assert "another space: x is" in shared.rejection("other-space")
    plain_study(shared, "other-direction")
    shared.drop("other-direction", an_experiment().replace("minimize", "maximize"))
    assert "directions are ['maximize'] here" in shared.rejection("other-direction")


# Several objectives


def test_several_objectives_have_a_front(shared: Daemon) -> None:
    text = an_experiment(
        high=4, more=sampler("nsgaii"), value='{{\\"values\\": [$TUNED_PARAM_X, $((4 - TUNED_PARAM_X))]}}'
    )
    text = text.replace('direction = "minimize"', 'directions = ["minimize", "minimize"]')
    shared.run("front", text)
    best = shared.client.get("/v1/experiments/front/best")["best"]
    # A reused trial is on the front beside its twin, as Optuna says.
    assert {tuple(each["values"]) for each in best} == {(float(x), float(4 - x)) for x in range(5)}
