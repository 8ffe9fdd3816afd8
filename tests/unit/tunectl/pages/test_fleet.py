"""The fleet, and what was changed in it, letter by letter."""

from __future__ import annotations

from tests.small_host import a_finding, a_host, a_summary
from tests.unit.tunectl.pages.made import PLAIN, text
from tuned.protocol.experiments import RetryView
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


def test_a_row_that_cannot_be_read_is_named_below_the_hosts() -> None:
    lines = fleet.hosts(PLAIN, [a_host(), a_host("odd", unreadable="beat, info")])
    assert lines[3:] == ["cannot read in the row of odd: beat, info"]


def test_a_retry_says_when_nothing_can_start() -> None:
    done = a_summary(state="done", trials=100)
    full = RetryView(freed=2, experiment=done, is_full=True, runs_here=False)
    assert fleet.retried(full) == [
        "2 failed points of minima free again; it is done",
        "nothing can start: the budget is full (100 of 100 trials); raise it: tunectl submit --replace FILE",
    ]
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
