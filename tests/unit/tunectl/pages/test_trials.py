"""Trials and their stories, letter by letter."""

from __future__ import annotations

import pytest

from tests.small_host import a_revision, a_story, a_summary, a_trial
from tests.unit.tunectl.pages.made import PLAIN, text
from tuned.tunectl.pages import trials
from tuned.tunectl.text import Canvas


def test_the_story_of_a_trial_as_a_person_reads_it() -> None:
    failure = {"cause": "exit", "message": "exit status 1"}
    trial = a_trial(7, state="FAIL", values=None, failure=failure, started=None)
    point = {"state": "held", "trial": 9, "host": "beta", "late_of": None, "losses": 2}
    assert (
        text(trials.story(PLAIN, "minima", a_story(trial, origin="freed", point=point)))
        == """
Trial 7 of minima: FAIL
  Point      minima_size=16 lr=0.001 optimizer=adam
  From       taken up again: an earlier trial of it was aborted, lost or retried
  Attempt 1  signal: printed: sesame; tried again
  Failed     exit status 1 after 1min 30s
  Point now  being evaluated by trial 9 on beta (lost 2 times)
"""
    )


@pytest.mark.parametrize(
    ("trial", "story", "expected"),
    [
        ({}, {}, "Complete 0.5 after 1min 30s"),
        ({"state": "PRUNED"}, {},
         "Pruned by the objective itself after 1min 30s, with 0.5 as its last report"),
        ({"state": "PRUNED", "values": None}, {}, "Pruned by the objective itself after 1min 30s"),
        ({"state": "PRUNED", "pruned": {"rule": "median", "step": 3, "value": 0.5, "bound": 0.25}}, {},
         "Pruned by median at step 3: 0.5, bound 0.25; after 1min 30s, with 0.5 as its last report"),
        ({"state": "PRUNED", "pruned": {"rule": "patient", "step": 3, "value": 0.5, "bound": None}}, {},
         "Pruned by patient at step 3: 0.5; after 1min 30s, with 0.5 as its last report"),
        ({}, {"point": {"state": "pruned", "trial": 7, "host": "alpha", "late_of": None, "losses": 0}},
         "Point now pruned in this trial: it is not drawn again"),
        ({}, {"origin": "points"}, "From given by [[points]] of the experiment's file"),
        ({}, {"origin": "enqueued"}, "From enqueued by another program"),
        ({}, {"origin": "walk"}, "From the next point that nobody had visited"),
        ({}, {"origin": None, "point": None}, "From another program: tuned did not draw it"),
        ({}, {"replicates": {"count": 5, "reduce": "mean", "values": [[0.5], [0.25]]}},
         "Replicates 0.5, 0.25 (2 of 5; mean)"),
        ({}, {"replicates": {"count": 2, "reduce": "max", "values": [[0.5, 1], [0.25, "Infinity"]]}},
         "Replicates 0.5, 1; 0.25, inf (2 of 2; max)"),
        ({}, {"late_of": 3}, "Late the value of trial 3, which had been given up as lost"),
        ({"duplicate_of": {"number": 3, "host": "beta"}}, {},
         "Reused at once by alpha: 0.5, the value of trial 3 on beta"),
        ({"duplicate_of": {"number": 3, "host": None}, "values": None, "state": "FAIL"}, {},
         "Skipped at once by alpha: its point was being evaluated as trial 3"),
        ({}, {"point": {"state": "done", "trial": 9, "host": "beta", "late_of": 7, "losses": 1}},
         "Point now done: trial 9 on beta has its value, a late value of trial 7"),
        ({}, {"point": {"state": "failed", "trial": 7, "host": "alpha", "late_of": None, "losses": 0}},
         "Point now failed in this trial; tunectl retry evaluates it again"),
        ({}, {"point": {"state": "free", "trial": 7, "host": "alpha", "late_of": None, "losses": 1}},
         "Point now free: it goes ahead of what is drawn"),
    ],
)  # fmt: skip
def test_a_story_says_what_became_of_a_trial(
    trial: dict[str, object], story: dict[str, object], expected: str
) -> None:
    lines = trials.story(Canvas(width=200), "minima", a_story(a_trial(7, **trial), **story))
    assert expected in [" ".join(line.split()) for line in lines]


def test_trials_as_a_person_sees_them() -> None:
    failure = {"cause": "exit", "message": "exit status 1"}
    views = [
        a_trial(7),
        a_trial(8, duplicate_of={"number": 7, "host": "beta"}, params={"lr": 0.1}),
        a_trial(9, state="FAIL", values=None, failure=failure, params={}),
    ]
    assert (
        text(trials.trials(PLAIN, views))
        == """
TRIAL  STATE     VALUE      TIME  HOST   PARAMETERS                NOTE
    7  COMPLETE    0.5  1min 30s  alpha  minima_size=16 lr=0.001…
    8  COMPLETE    0.5  1min 30s  alpha  lr=0.1                    as 7 on beta
    9  FAIL          –  1min 30s  alpha                            exit status 1
"""
    )


def test_the_best_trial_is_told_with_its_parameters_and_a_front_as_a_table() -> None:
    view = a_summary()["best"]
    assert view is not None
    assert (
        text(trials.best(PLAIN, {"best": [view], "nearest": None}))
        == """
Trial 17 on alpha: 0.9731
  minima_size  16
  lr           0.001
  optimizer    adam
"""
    )
    front = trials.best(PLAIN, {"best": [view, view], "nearest": None})
    assert front[0].split() == ["TRIAL", "VALUES", "HOST", "PARAMETERS"]


def test_without_a_feasible_trial_the_nearest_is_told_with_its_constraints() -> None:
    view = a_summary()["best"]
    assert view is not None
    view["constraints"] = {"latency": 3.1, "memory": -2.0, "size": float("inf")}
    assert (
        text(trials.best(PLAIN, {"best": [], "nearest": view}))
        == """
No trial is feasible. The nearest one:
Trial 17 on alpha: 0.9731
  minima_size  16
  lr           0.001
  optimizer    adam
  Constraints  latency 3.1 (violated), memory -2, size inf (violated)
"""
    )


def test_a_trial_that_violates_a_constraint_is_marked() -> None:
    trial = a_trial(7, constraints={"latency": "Infinity", "memory": 0, "size": 0.5})
    assert trials.trials(Canvas(width=200), [trial])[1].endswith("violates latency, size")
    lines = [" ".join(line.split()) for line in trials.story(PLAIN, "minima", a_story(trial))]
    assert "Constraints latency inf (violated), memory 0, size 0.5 (violated)" in lines


def test_the_story_names_the_definition_only_if_there_has_been_another_one() -> None:
    def line(**changes: object) -> list[str]:
        lines = trials.story(PLAIN, "minima", a_story(a_trial(7), revision_now=3, **changes))
        return [each.split(maxsplit=1)[1] for each in lines if "Definition" in each]

    assert line(revision=1) == ["revision 1 of 3"]
    [replaced] = line(revision=2, replacement=a_revision())
    assert replaced.startswith("revision 2 of 3, replaced ")
    assert replaced.endswith(" by ann on alpha:")
    assert line(revision=None) == []


def test_a_story_tells_how_many_reports_there_were_and_the_last() -> None:
    reports = [{"step": 0, "value": 0.5}, {"step": 56, "value": 0.25}]
    lines = trials.story(PLAIN, "minima", a_story(a_trial(7), reported=57, reports=reports))
    assert "  Reports    57: from step 0: 0.5 to step 56: 0.25" in lines
    lines = trials.story(PLAIN, "minima", a_story(a_trial(7), reported=1, reports=reports[:1]))
    assert "  Reports    1: step 0: 0.5" in lines


def test_a_running_trial_is_listed_with_its_last_report() -> None:
    report = {"step": 3, "value": 0.5}
    running = a_trial(7, state="RUNNING", values=None, report=report)
    assert trials.trials(PLAIN, [running])[-1].endswith("step 3: 0.5")
