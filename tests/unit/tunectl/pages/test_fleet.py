"""The fleet, and what was changed in it, letter by letter."""

from __future__ import annotations

from tests.small_host import a_count, a_finding, a_host, a_summary
from tests.unit.tunectl.pages.made import PLAIN, text
from tuned.protocol.experiments import ReplacedView, RetryView
from tuned.protocol.fields import StudyStateName
from tuned.protocol.fleet import FixedView
from tuned.tunectl.pages import fleet


def test_hosts_as_a_person_sees_them() -> None:
    views = [
        a_host(),
        a_host("beta", state="dead", beat_age_seconds=7384.0, optuna_version="5.0.1"),
        a_host("gamma", state="stopped", running=0),
        a_host("new", state="starting", beat_age_seconds=None, running=0),
    ]
    assert (
        text(fleet.hosts(PLAIN, views))
        == """
HOST   STATE     SLOTS  GPUS  RUNNING         LAST BEAT  TUNED  OPTUNA
alpha  running       2     0        1            3s ago  0.1.0  5.0.0
beta   dead          2     0        1  over 2h 3min ago  0.1.0  5.0.1
gamma  stopped       2     0        0                 –  0.1.0  5.0.0
new    starting      2     0        0                 –  0.1.0  5.0.0
"""
    )


def test_a_host_that_does_not_work_on_an_experiment_says_why_below_the_hosts() -> None:
    why = ["minima: it lacks the label a100"]
    views = [a_host("alpha", resting=why, labels=["scratch"]), a_host("beta", state="dead", resting=why)]
    lines = fleet.hosts(PLAIN, views)
    assert lines[1].endswith("scratch")
    assert lines[3:] == ["alpha rests, minima: it lacks the label a100"]


def test_a_row_that_cannot_be_read_is_named_below_the_hosts() -> None:
    lines = fleet.hosts(PLAIN, [a_host(), a_host("odd", unreadable="beat, info")])
    assert lines[3:] == ["cannot read in the row of odd: beat, info"]


def test_a_host_that_does_not_work_now_is_named_below_the_hosts() -> None:
    off = {"since": "2025-01-31T06:00:00+00:00", "until": "2025-01-31T21:00:00+00:00"}
    assert "\nalpha starts nothing since 2025-01-31 " in text(fleet.hosts(PLAIN, [a_host(off=off)]))


def test_a_retry_says_when_nothing_can_start() -> None:
    done = a_summary(state="done", trials=100)
    full = RetryView(freed=2, experiment=done, is_full=True, runs_here=False)
    assert fleet.retried(full) == [
        "2 failed points of minima free again; it is done",
        "nothing can start: the budget is full (100 of 100 trials); raise it: tunectl submit --replace FILE",
    ]
    reached = done | {"trials": 46, "ended_by": "target 1 reached by trial 41 on h3"}
    over = RetryView(freed=2, experiment=reached, is_full=True, runs_here=False)
    assert fleet.retried(over)[1] == (
        "nothing can start: target 1 reached by trial 41 on h3; "
        "give it another budget: tunectl submit --replace FILE"
    )
    elsewhere = RetryView(freed=1, experiment=a_summary(), is_full=False, runs_here=False)
    assert "submit its file here" in fleet.retried(elsewhere)[1]
    nothing = RetryView(freed=0, experiment=a_summary(), is_full=False, runs_here=True)
    assert fleet.retried(nothing) == ["no point of minima is to be retried"]


def test_what_is_wrong_as_a_person_sees_it() -> None:
    away = a_finding(what="the database does not answer:\nrefused", remedy="start it", is_fixable=False)
    note = a_finding(kind="note", what="no limits here", remedy="run it as a service", is_fixable=False)
    view = FixedView(fixed=["spool: mode 0750, was 0777"], findings=[a_finding(), away, note])
    assert (
        text(fleet.diagnosis(PLAIN, view))
        == """
fixed  spool: mode 0750, was 0777
✗ trials of minima are RUNNING and no host holds them: 3, 7
  Why  they never end by themselves
  Do   end them in the database; or tunectl doctor --fix
✗ the database does not answer:
  refused
  Why  they never end by themselves
  Do   start it
! no limits here
  Why  they never end by themselves
  Do   run it as a service
"""
    )


def replacement(state: StudyStateName = "open", *changes: str, is_full: bool = False) -> ReplacedView:
    summary = a_summary(state=state)
    return {"experiment": summary, "is_full": is_full, "runs_here": True, "changes": [*changes]}


def test_a_replacement_says_each_change_and_what_is_to_do() -> None:
    first = "minima is {}; its budget: 46 of 100 trials"
    changed = replacement("open", "retry.attempts: 1, was 0")
    assert fleet.replaced(changed) == [first.format("open"), "  retry.attempts: 1, was 0"]
    assert fleet.replaced(replacement("paused")) == [
        first.format("paused"), "  nothing differs from the file", "to go on: tunectl resume minima",
    ]  # fmt: skip
    assert "nothing can start: the budget is full" in fleet.replaced(replacement("done", is_full=True))[2]


def test_a_done_experiment_is_told_with_all_ways_on() -> None:
    assert fleet.over(a_summary(state="done")) == (
        "minima is done, 46 of 100 trials; failed points again: tunectl retry minima --failed; "
        "another budget: tunectl submit --replace FILE; all of it again: tunectl submit --fresh FILE"
    )
    reached = a_summary(state="done", ended_by="target 1 reached by trial 41 on h3")
    assert fleet.over(reached).startswith("minima is done, target 1 reached by trial 41 on h3; failed points")
    exhausted = a_summary(state="done", visited=1024, counts=a_count(complete=1024))
    assert fleet.over(exhausted) == (
        "minima is done, 1024 of 1024 points; all of it again: tunectl submit --fresh FILE"
    )


def test_what_is_active_already_says_why_nothing_happens() -> None:
    paused_here = a_summary(note="paused after 10 failures in a row on this host")
    assert fleet.unchanged(paused_here).endswith("already active, unchanged; " + paused_here["note"])
    assert fleet.deleted({"name": "x", "trials": 1}).startswith("x is deleted, with 1 trial; ")
