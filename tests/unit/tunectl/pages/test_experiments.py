"""Experiments, one by one and in a list, letter by letter."""

from __future__ import annotations

import pytest

from tests.small_host import a_count, a_revision, a_summary, a_trial
from tests.unit.tunectl.pages.made import NOW, PLAIN, an_experiment, text
from tuned.protocol.trials import BestView
from tuned.tunectl.pages import experiments
from tuned.tunectl.text import UNBOUNDED, Canvas


def test_show_says_what_each_trial_may_use() -> None:
    view = an_experiment()
    view["resources"] = {"memory": 2**32, "cpus": 1.5, "pids": None, "gpus": 0.5}
    assert "  Each trial  memory 4G, cpus 1.5, gpus 0.5" in experiments.experiment(PLAIN, view, NOW)
    view["resources"] = dict.fromkeys(("memory", "cpus", "pids", "gpus"))  # type: ignore[typeddict-item]
    assert not [line for line in experiments.experiment(PLAIN, view, NOW) if "Each" in line]


def test_show_as_a_person_sees_it() -> None:
    lines = experiments.experiment(PLAIN, an_experiment(), NOW)
    lines[8] = lines[8].partition(" 2025")[0].rstrip()
    assert (
        text(lines)
        == """
● open  minima
  Progress   ████████░░░░░░░░░░░░ 44%  44 of 100 trials, about 58min 33s left
  Trials     40 complete, 2 reused, 3 failed, 1 skipped, 2 running
  Budget     46 of 100 trials, 2 of them still running
  Direction  maximize
  Space      1024 points, 43 visited
  Sampler    tpe, seed 42
  Slots      1 busy here, at most all
  Started
  File       none on this host
  Outputs    none on this host
  Best       0.9731 in trial 17 on alpha
             minima_size=16 lr=0.001 optimizer=adam

HOST            COMPLETE  REUSED  FAILED  SKIPPED  PRUNED  RUNNING
alpha                 30       2       3        0       0        2
beta                  10       0       0        1       0        0
other programs         3       0       0        0       0        0

Latest failures
  9  exit status 1
"""
    )


def test_show_lists_the_newest_replacements_of_the_definition() -> None:
    view = an_experiment()
    view["revisions"] = [
        a_revision(number, changes=["budget.trials: 9, was 8"]) for number in range(9, 1, -1)
    ]
    del view["revisions"][1]["changes"]
    lines = [line for line in experiments.experiment(PLAIN, view, NOW) if "Replaced" in line]
    assert len(lines) == experiments.MOST_REVISIONS
    assert lines[0].endswith(" by ann on alpha: budget.trials: 9, was 8")
    assert lines[1].endswith(" by ann on alpha"), "a reader who may not change anything does not see it"


def test_progress_is_towards_the_limit_that_is_reached_first() -> None:
    nearer = a_summary(trials=10, trials_limit=100, evaluations=30, evaluations_limit=60)
    assert experiments.progress(nearer) == (28, 60, "evaluation")
    unbounded = a_summary(trials=10, trials_limit=None, space_size=None)
    assert experiments.progress(unbounded) == (8, None, "trial")


def test_progress_counts_trials_that_ended_and_the_budget_those_that_began() -> None:
    view = a_summary(counts=a_count(complete=3, running=2), trials=5, evaluations=5, visited=0)
    assert experiments.progress(view).done == 3
    begun = a_summary(counts=a_count(running=2), trials=1, evaluations=1, visited=0)
    assert experiments.progress(begun).done == 0


def test_a_search_that_ended_without_a_value_is_not_called_done_without_a_word() -> None:
    failed = a_summary(state="done", best=None)
    said = "no value: no trial of it gave one"
    assert f"  minima  done, {said}" in experiments.experiments(PLAIN, [failed], NOW)
    view = an_experiment()
    view["summary"] = failed
    assert f"  Best       {said}" in experiments.experiment(PLAIN, view, NOW)
    assert len(experiments.experiments(PLAIN, [a_summary(state="done")], NOW)) == 2


def test_a_search_without_a_feasible_trial_says_how_near_it_came() -> None:
    best = a_summary()["best"]
    assert best is not None
    nearest: BestView = {**best, "constraints": {"latency": 3.1, "memory": -2.0}}
    view = an_experiment()
    view["summary"] = a_summary(state="done", best=None, nearest=nearest)
    assert "  minima  done, no trial is feasible" in experiments.experiments(PLAIN, [view["summary"]], NOW)
    said = "no trial is feasible; nearest is 17: latency 3.1 (violated), memory -2"
    assert f"  Best       {said}" in experiments.experiment(Canvas(width=200), view, NOW)
    view["summary"] = a_summary(best={**best, "constraints": {"latency": -1.0}})
    lines = [" ".join(line.split()) for line in experiments.experiment(PLAIN, view, NOW)]
    assert "Constraints latency -1" in lines


@pytest.mark.parametrize(
    ("state", "words"),
    [("done", "10 trials"), ("cancelled", "cancelled by alice"), ("open", "ends: target 1 reached")],
)
def test_the_list_says_why_each_search_ends(state: str, words: str) -> None:
    ended_by = words.removeprefix("ends: ")
    assert f"  minima  {words}" in experiments.experiments(
        PLAIN, [a_summary(state=state, ended_by=ended_by)], NOW
    )


def test_show_says_where_the_outputs_of_trials_are() -> None:
    view = an_experiment()
    view["outputs"] = "/state/trials/minima-0123abcd"
    lines = experiments.experiment(Canvas(width=200), view, NOW)
    assert "  Outputs    /state/trials/minima-0123abcd/TRIAL/output.log; tunectl logs minima TRIAL" in lines


def test_nothing_is_cut_for_a_pipe() -> None:
    name = "a-name-of-one-hundred-characters-" * 3 + "x"
    lines = experiments.experiments(Canvas(width=UNBOUNDED), [a_summary(name, note="rests")], NOW)
    assert [line.split()[0] for line in lines[1:]] == [name, name]


def test_the_time_left_is_by_the_pace_and_within_the_time_budget() -> None:
    assert experiments.seconds_left(a_summary(trials=52, visited=0), NOW) == 46 * 60
    assert experiments.seconds_left(a_summary(trials=50, seconds_left=60.0), NOW) == 60
    assert experiments.seconds_left(a_summary(state="paused"), NOW) is None
    assert experiments.seconds_left(a_summary(started=None), NOW) is None


def test_show_lists_the_latest_reports_of_running_trials() -> None:
    view = an_experiment()
    view["running"] = [
        a_trial(47, state="RUNNING", report={"step": 3, "value": 0.5}), a_trial(46, state="RUNNING"),
    ]  # fmt: skip
    lines = experiments.experiment(PLAIN, view, NOW)
    assert lines[lines.index("Latest reports") :][:3] == ["Latest reports", "  47  step 3: 0.5 on alpha", ""]


def test_the_last_number_counts_trials_that_no_budget_counts() -> None:
    counted = a_summary(counts=a_count(complete=997, failed=2, running=1), trials=3)
    assert experiments.last_number(counted) == 999
    assert experiments.last_number(a_summary(counts=a_count())) == 0


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"on": ["done", "better"], "url": "https://example.org/…"}, "done, better (https://example.org/…)"),
        ({"on": ["done"], "command": ["tell", "…"]}, "done (tell …)"),
        ({"on": ["better"]}, "better (as the hosts' settings say)"),
        ({"on": []}, "nothing"),
    ],
)
def test_show_says_of_what_people_are_told(table: dict[str, object], words: str) -> None:
    view = an_experiment()
    view["definition"] = {"notify": table}
    assert f"  Notify     {words}" in experiments.experiment(PLAIN, view, NOW)
