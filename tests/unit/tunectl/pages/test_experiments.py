"""Experiments, one by one and in a list, letter by letter."""

from __future__ import annotations

from tests.small_host import a_revision, a_summary
from tests.unit.tunectl.pages.made import NOW, PLAIN, an_experiment, text
from tuned.tunectl.pages import experiments


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
  Progress   ███████████░░░░░░░░░░░░░ 46%  46 of 100 trials, about 54min left
  Trials     40 complete, 2 reused, 3 failed, 1 skipped, 2 running
  Budget     46 of 100 trials
  Direction  maximize
  Space      1024 points, 43 visited
  Sampler    tpe, seed 42
  Slots      1 busy here, at most all
  Started
  File       none on this host
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
    assert experiments.progress(nearer) == (30, 60, "evaluations")
    unbounded = a_summary(trials=10, trials_limit=None, space_size=None)
    assert experiments.progress(unbounded) == (10, None, "trials")


def test_the_time_left_is_by_the_pace_and_within_the_time_budget() -> None:
    assert experiments.seconds_left(a_summary(trials=50, visited=0), NOW) == 46 * 60
    assert experiments.seconds_left(a_summary(trials=50, seconds_left=60.0), NOW) == 60
    assert experiments.seconds_left(a_summary(state="paused"), NOW) is None
    assert experiments.seconds_left(a_summary(started=None), NOW) is None
