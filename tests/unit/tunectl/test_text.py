"""What people see, letter by letter; and that it fits, whatever is in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.small_host import a_count, a_finding, a_host, a_point, a_status, a_story, a_summary, a_trial
from tuned.protocol import ExperimentView, FixedView, RetryView
from tuned.tunectl import text as text_module
from tuned.tunectl.pages import events, experiments, fleet, trials
from tuned.tunectl.pages import host as host_module
from tuned.tunectl.text import Canvas, Cell, Colour, Column

NOW = datetime(2025, 1, 31, 12, 46, tzinfo=UTC)
LONG = "a-name-of-one-hundred-characters-" * 3 + "x"
COLOURS = Canvas(has_colours=True)

PLAIN = Canvas()

_ESCAPES = re.compile(r"\x1b\[\d*m")


def text(lines: list[str]) -> str:
    return "\n".join(["", *lines, ""])


def test_columns_stand_below_their_titles() -> None:
    columns = [Column("NAME"), Column("COUNT", is_right=True), Column("")]
    rows: list[list[str | Cell]] = [["one", "1", "x"], ["eleven", "11", ""]]
    assert (
        text(PLAIN.table(columns, rows))
        == """
NAME    COUNT
one         1  x
eleven     11
"""
    )


def test_what_does_not_fit_is_cut_where_it_may_be() -> None:
    columns = [Column("KEPT"), Column("CUT", least=5)]
    lines = Canvas(width=20).table(columns, [["k" * 10, "c" * 30]])
    assert lines[1] == "kkkkkkkkkk  ccccccc…"


def test_colours_do_not_move_columns() -> None:
    columns = [Column("STATE"), Column("NAME")]
    rows: list[list[str | Cell]] = [[Cell("open", Colour.GREEN), "a"], [Cell("cancelled", Colour.RED), "b"]]
    painted = COLOURS.table(columns, rows)
    assert painted[1] == "\x1b[32mopen\x1b[0m       a"
    assert [_ESCAPES.sub("", line) for line in painted] == PLAIN.table(columns, rows)


@given(st.lists(st.tuples(st.text(), st.text(), st.integers()), max_size=5), st.integers(40, 120))
def test_no_line_is_wider_than_the_canvas_or_controls_the_terminal(
    rows: list[tuple[str, str, int]], width: int
) -> None:
    columns = [Column("ONE", least=5), Column("TWO", least=5), Column("THREE", is_right=True, least=5)]
    for line in Canvas(width=width).table(columns, [[one, two, str(three)] for one, two, three in rows]):
        assert len(line) <= width
        assert line.isprintable()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (45, "45s"),
        (59.9, "1min"),
        (75, "1min 15s"),
        (3600, "1h"),
        (7384, "2h 3min"),
        (86399, "23h 59min"),
        (90000, "1d 1h"),
        (-3, "0s"),
    ],
)
def test_spans_have_their_two_largest_units(seconds: float, expected: str) -> None:
    assert text_module.span(seconds) == expected


@pytest.mark.parametrize(
    ("done", "total", "bar", "percent"),
    [
        (0, 10**9, "░░░░", "0%"),
        (1, 10**9, "█░░░", "0%"),
        (29, 100, "█░░░", "29%"),
        (50, 100, "██░░", "50%"),
        (999, 1000, "███░", "99%"),
        (1000, 1000, "████", "100%"),
        (1001, 1000, "████", "100%"),
    ],
)
def test_a_bar_is_full_at_the_end_only_and_empty_at_the_beginning_only(
    done: int, total: int, bar: str, percent: str
) -> None:
    assert (text_module.bar(done, total, 4), text_module.percent(done, total)) == (bar, percent)


def test_infinity_comes_as_a_string_and_is_a_number_all_the_same() -> None:
    assert [text_module.number(each) for each in (0.1 + 0.2, 1e-9, "-Infinity")] == ["0.3", "1e-09", "-inf"]


@given(st.text(alphabet="ab ", max_size=200), st.integers(5, 40))
def test_wrapped_text_loses_nothing_but_spaces(written: str, width: int) -> None:
    lines = text_module.wrap(written, width)
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == written.replace(" ", "")


# Pages


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed is what runs."""
    monkeypatch.setattr(host_module, "__version__", a_status()["version"])


def test_status_as_a_person_sees_it() -> None:
    assert (
        text(host_module.status(PLAIN, a_status(), NOW))
        == """
● running  alpha for 2h 3min, 1 of 2 slots busy
  Daemon    tuned 0.1.0, pid 4711, isolation cgroup
  Limits    memory, cpus, pids
  Spool     /var/spool/tuned
  Database  sqlite:////var/lib/tuned/tuned.db

EXPERIMENT  STATE  PROGRESS            RUN  FAILED    BEST   LEFT
minima      open   ████░░░░░░  46/100    2       3  0.9731  54min

SLOT  EXPERIMENT  TRIAL  ATTEMPT     SINCE
   0  minima         46        1  1min 15s
   1  idle
"""
    )


def test_status_says_that_another_version_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "__version__", "0.2.0")
    said = text(host_module.status(PLAIN, a_status(), NOW))
    assert "0.2.0 is installed and runs from the next start" in said


def test_status_says_what_is_wrong() -> None:
    away = {"url": "postgresql://db/tuned", "reachable": False, "message": "refused", "pending_results": 3}
    paused = a_summary(state="paused", note="paused after 10 failures in a row on this host")
    view = a_status(database=away, experiments=[paused], warnings=["the clock stands still"])
    lines = host_module.status(PLAIN, view, NOW)
    assert "            away: refused" in lines
    assert "            3 results wait on this host's disk" in lines
    assert "  Warning   the clock stands still" in lines
    assert "  minima  paused after 10 failures in a row on this host" in lines


def test_status_says_who_has_which_gpu() -> None:
    run = {"experiment": "minima", "trial": 46, "attempt": 1, "seconds": 75.0, "gpus": ["0", "2"]}
    gpus = [
        {"id": "0", "used": 1.0},
        {"id": "1", "used": 0.5},
        {"id": "2", "used": 1.0},
        {"id": "3", "used": 0.0},
    ]
    view = a_status(gpus=gpus, slots=[{"slot": 0, "running": run}, {"slot": 1, "running": None}])
    lines = host_module.status(PLAIN, view, NOW)
    assert "  GPUs      0 busy, 1 50% busy, 2 busy, 3 free" in lines
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

HOST            COMPLETE  REUSED  FAILED  SKIPPED  RUNNING
alpha                 30       2       3        0        2
beta                  10       0       0        1        0
other programs         3       0       0        0        0

Latest failures
  9  exit status 1
"""
    )


def an_experiment() -> ExperimentView:
    failed = a_trial(9, state="FAIL", failure={"cause": "exit", "message": "exit status 1"})
    return ExperimentView(
        summary=a_summary(),
        hosts=[
            {"host": "alpha", "counts": a_count(complete=30, reused=2, failed=3, running=2)},
            {"host": "beta", "counts": a_count(complete=10, skipped=1)},
            {"host": None, "counts": a_count(complete=3)},
        ],
        sampler={"name": "tpe", "seed": 42, "options": {}},
        definition={},
        parallel=None,
        resources=None,
        file=None,
        failures=[failed],
    )


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
        ({}, {"origin": "points"}, "From given by [[points]] of the experiment's file"),
        ({}, {"origin": "enqueued"}, "From enqueued by another program"),
        ({}, {"origin": "walk"}, "From the next point that nobody had visited"),
        ({}, {"origin": None, "point": None}, "From another program: tuned did not draw it"),
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
    view = FixedView(fixed=["spool: mode 0750, was 0777"], findings=[a_finding(), away])
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
"""
    )


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
        text(trials.best(PLAIN, [view]))
        == """
Trial 17 on alpha: 0.9731
  minima_size  16
  lr           0.001
  optimizer    adam
"""
    )
    assert trials.best(PLAIN, [view, view])[0].split() == ["TRIAL", "VALUES", "HOST", "PARAMETERS"]


def test_every_page_fits_eighty_columns_with_the_longest_of_everything() -> None:
    best = {"number": 2**31, "values": [-1.23456e-300] * 5, "params": dict.fromkeys(LONG, 0.1), "host": LONG}
    counts = dict.fromkeys(a_summary()["counts"], 10**6)
    most = {"trials": 10**6 - 1, "trials_limit": 10**6, "space_size": 2**62, "visited": 2**61}
    summary = a_summary(LONG, state="cancelled", note=LONG * 3, best=best, counts=counts, **most)
    failure = {"cause": "no-value", "message": f"\x1b[31m{LONG}\n{LONG}"}
    trial = a_trial(2**31, host=LONG, params=best["params"], values=best["values"], failure=failure)
    run = {"experiment": LONG, "trial": 2**31, "attempt": 100, "seconds": 1e9, "gpus": [LONG] * 9}
    gpus = [{"id": LONG, "used": 1 / 3}] * 9
    slot = {"slot": 999, "running": run}
    status = a_status(host="h" * 20, experiments=[summary], slots=[slot], warnings=[LONG * 3], gpus=gpus)
    shown = an_experiment()
    shown["summary"], shown["failures"] = summary, [trial]
    shown["file"], shown["env"] = f"/{LONG}", {"TOKEN": LONG}
    shown["hosts"] = [{"host": LONG, "counts": summary["counts"]}]
    host = a_host(LONG, state="dead", running=10**6, beat_age_seconds=1e9, version="10.10.10.dev1")
    lines = [
        *host_module.status(PLAIN, status, NOW),
        *experiments.experiment(PLAIN, shown, NOW)[1:],
        *fleet.hosts(PLAIN, [host]),
        *trials.story(PLAIN, LONG, a_story(trial))[1:],
        *trials.trials(PLAIN, [trial]),
        *trials.best(PLAIN, [summary["best"]] * 2 if summary["best"] else []),
    ]
    assert [line for line in lines if len(line) > 80 or not line.isprintable()] == []


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


def test_an_event_is_one_line_that_cannot_control_the_terminal() -> None:
    line = events.event(
        PLAIN,
        {
            "time": "2025-01-31T12:00:00+00:00",
            "event": "trial-started",
            "host": "alpha",
            "experiment": "minima",
            "trial": 46,
            "slot": 1,
            "params": {**a_point(), "evil": "\x1b[2J\n"},
        },
    )
    assert re.sub(r"^[-0-9]+ [0-9:]+ ", "", line).startswith("trial-started       minima trial 46 slot 1")
    assert len(line) <= 80
    assert line.isprintable()
