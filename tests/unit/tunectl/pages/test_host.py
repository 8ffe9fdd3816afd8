"""A host's status, letter by letter."""

from __future__ import annotations

from typing import Any

import pytest

from tests.small_host import a_status, a_summary
from tests.unit.tunectl.pages.made import NOW, PLAIN, text
from tuned.tunectl.pages import experiments
from tuned.tunectl.pages import host as host_module
from tuned.tunectl.pages.words import time_of_day


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed version is the one that runs."""
    monkeypatch.setattr(host_module, "__version__", a_status()["version"])


def test_status_as_a_person_sees_it() -> None:
    assert (
        text(host_module.status(PLAIN, a_status(), NOW))
        == """
● running  alpha for 2h 3min, 1 of 2 slots busy
  Daemon    tuned 0.1.0, pid 4711, isolation cgroup
  Limits    memory, cpus, pids
  Trials    run as tuned-trials
  Spool     /var/spool/tuned
  Database  sqlite:////var/lib/tuned/tuned.db

EXPERIMENT  STATE  PROGRESS            RUN  FAILED    BEST       LEFT
minima      open   ████░░░░░░  44/100    2       3  0.9731  58min 33s

SLOT  EXPERIMENT  TRIAL  ATTEMPT     SINCE
   0  minima         46        1  1min 15s
   1  idle
"""
    )


def test_status_speaks_of_limits_that_cannot_be_kept_only_to_experiments_that_ask_for_some() -> None:
    assert "Limits" not in text(host_module.status(PLAIN, a_status(limits=[]), NOW))
    asking = a_summary(note="trials run without the limit pids 64: this host has no control groups")
    said = text(host_module.status(PLAIN, a_status(limits=[], experiments=[asking]), NOW))
    assert "  minima  trials run without the limit pids 64" in said


def test_status_says_that_trials_run_as_the_daemons_user() -> None:
    said = text(host_module.status(PLAIN, a_status(trials_user=None), NOW))
    assert "  Trials    run as the daemon's user, and may do what it may" in said


def test_status_says_that_another_version_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "__version__", "0.2.0")
    said = text(host_module.status(PLAIN, a_status(), NOW))
    assert "0.2.0 is installed; to run it, while trials go on: tunectl restart" in said


def test_status_says_what_is_wrong() -> None:
    away = {"url": "postgresql://db/tuned", "reachable": False, "message": "refused", "pending_results": 3}
    paused = a_summary(state="paused", note="paused after 10 failures in a row on this host")
    view = a_status(database=away, experiments=[paused], warnings=["the clock stands still"])
    lines = host_module.status(PLAIN, view, NOW)
    assert "            away: refused" in lines
    assert "            waiting on this host's disk: 3 results" in lines
    assert "  Warning   the clock stands still" in lines
    assert "  minima  paused after 10 failures in a row on this host" in lines


def a_run() -> dict[str, Any]:
    running = a_status()["slots"][0]["running"]
    assert running is not None
    return {**running}


def test_status_says_which_replicate_runs() -> None:
    run = {**a_run(), "replicate": 2, "replicates": 5, "attempt": 3}
    view = a_status(slots=[{"slot": 0, "running": run}, {"slot": 1, "running": None}])
    assert host_module.status(PLAIN, view, NOW)[-3:] == [
        "SLOT  EXPERIMENT  TRIAL  REPLICATE  ATTEMPT     SINCE",
        "   0  minima         46     2 of 5        3  1min 15s",
        "   1  idle",
    ]


def test_status_says_which_trials_an_earlier_daemon_began() -> None:
    view = a_status(slots=[{"slot": 0, "running": {**a_run(), "is_adopted": True}}])
    assert "  Adopted   1 trial that an earlier daemon began" in host_module.status(PLAIN, view, NOW)
    assert not any("Adopted" in line for line in host_module.status(PLAIN, a_status(), NOW))


def test_status_says_who_has_which_gpu() -> None:
    run = {**a_run(), "gpus": ["0", "2"]}
    gpus = [
        {"id": "0", "used": 1.0, "is_left": False},
        {"id": "1", "used": 0.5, "is_left": False},
        {"id": "2", "used": 1.0, "is_left": False},
        {"id": "3", "used": 0.0, "is_left": False},
        {"id": "4", "used": 0.0, "is_left": True},
        {"id": "5", "used": 0.5, "is_left": True},
    ]
    view = a_status(gpus=gpus, slots=[{"slot": 0, "running": run}, {"slot": 1, "running": None}])
    lines = host_module.status(PLAIN, view, NOW)
    said = " ".join(text(lines).split())
    assert "GPUs 0 busy, 1 50% busy, 2 busy, 3 free, 4 used by others, 5 50% busy, and used by others" in said
    assert lines[-3:] == [
        "SLOT  EXPERIMENT  TRIAL  ATTEMPT     SINCE  GPUS",
        "   0  minima         46        1  1min 15s  0, 2",
        "   1  idle",
    ]


def test_status_and_list_say_why_an_experiment_rests_here() -> None:
    view = a_summary(note="needs 4 GPUs, this host has 2")
    for lines in (
        host_module.status(PLAIN, a_status(experiments=[view]), NOW),
        experiments.experiments(PLAIN, [view], NOW),
    ):
        assert "  minima  needs 4 GPUs, this host has 2" in lines


def test_slots_whose_trials_report_show_the_newest_report() -> None:
    status = a_status()
    [busy, _] = status["slots"]
    assert busy["running"] is not None
    busy["running"]["report"] = {"step": 3, "value": 0.5}
    lines = host_module.status(PLAIN, status, NOW)
    assert lines[-3:-1] == [
        "SLOT  EXPERIMENT  TRIAL  ATTEMPT     SINCE  REPORT",
        "   0  minima         46        1  1min 15s  step 3: 0.5",
    ]


def test_status_says_the_hours_and_since_when_and_until_when_nothing_starts() -> None:
    off = {"since": "2025-01-31T06:00:00+00:00", "until": "2025-01-31T21:00:00+00:00"}
    said = text(host_module.status(PLAIN, a_status(hours=["22:00-07:00"], off=off), NOW))
    assert "  Hours     22:00-07:00\n" in said
    assert f"            nothing starts here since {time_of_day(off['since'])} until " in said
    assert "Hours" not in text(host_module.status(PLAIN, a_status(), NOW))
