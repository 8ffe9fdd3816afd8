"""Duplicates: how often each search evaluates each of 64 points, with 8 slots and 64 trials.

Plain Optuna and the recipe run in 8 processes with an eighth of the trials each, as their users run them; a
grid until it ends itself. All run the same command, which writes down its point: that is what is counted.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from benchmarks import host
from benchmarks.crew import Crew, Lap, crew, lap, seconds
from benchmarks.ground import Ground
from benchmarks.recipe import with_recipe
from benchmarks.report import Cell, Report

POINTS = TRIALS = 64
SLOTS = 8

#: How long an evaluation takes.
PAUSE_SECONDS = 0.1
QUICK_PAUSE_SECONDS = 0.03

SPACE = """
[space.x]
type = "int"
low = 0
high = 7

[space.y]
type = "int"
low = 0
high = 7
"""

#: ``on_complete`` and ``on_running``; the first is what holds if the file says nothing.
POLICIES = (
    ("reuse", "skip"),
    ("reuse", "wait"),
    ("reuse", "resample"),
    ("resample", "resample"),
    ("evaluate", "evaluate"),
)

SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "random": RandomSampler,
    "tpe": TPESampler,
    "grid": lambda: GridSampler({"x": range(8), "y": range(8)}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    evaluations: int
    distinct: int
    #: Trials that took a twin's value, and trials that are FAIL because a twin ran.
    reused: int
    skipped: int
    seconds: float

    @property
    def repeats(self) -> int:
        return self.evaluations - self.distinct


def measure(ground: Ground, report: Report) -> None:
    with crew(SLOTS) as workers:
        plain = {
            (name, sampler): _plain(ground, workers, sampler, uses_recipe=name == "recipe")
            for sampler in SAMPLERS
            for name in ("plain Optuna", "recipe")
        }
    ours = _tuned(ground, PAUSE_SECONDS)
    _check(report, ours)
    outcomes = {**plain, **{(f"tuned, {policy}", sampler): o for (policy, sampler), o in ours.items()}}
    by_sampler = sorted(outcomes.items(), key=lambda one: list(SAMPLERS).index(one[0][1]))
    report.table(
        f"Duplicates: {TRIALS} trials of a command of {PAUSE_SECONDS} s on {POINTS} points, {SLOTS} slots",
        [_row(name, sampler, outcome) for (name, sampler), outcome in by_sampler],
    )


def count(ground: Ground, report: Report) -> None:
    """Only tuned, which must not repeat anything by accident."""
    ours = _tuned(ground, QUICK_PAUSE_SECONDS)
    report.table(
        f"Duplicates: {TRIALS} trials on {POINTS} points, {SLOTS} slots",
        [_row(f"tuned, {policy}", sampler, outcome) for (policy, sampler), outcome in ours.items()],
    )
    _check(report, ours)


def _command(ledger: Path, pause_seconds: float) -> list[str]:
    x, y = "$TUNED_PARAM_X", "$TUNED_PARAM_Y"
    script = f'echo "{x} {y}" >> {ledger}; sleep {pause_seconds}; echo $((({x}-3)*({x}-3)+({y}-5)*({y}-5)))'
    return ["sh", "-c", script]


def _check(report: Report, ours: dict[tuple[str, str], Outcome]) -> None:
    repeats = [outcome.repeats for (policy, _), outcome in ours.items() if "evaluate" not in policy]
    report.count("evaluations that tuned repeated by accident", sum(repeats), at_most=0)
    whole = [
        outcome.distinct
        for (policy, sampler), outcome in ours.items()
        if sampler == "grid" or policy == "resample + resample"
    ]
    report.count("points that a grid, or a budget of as many trials, evaluates", min(whole), at_least=POINTS)


def _row(name: str, sampler: str, outcome: Outcome) -> dict[str, Cell]:
    return {
        "sampler": sampler,
        "what": name,
        "evaluations": outcome.evaluations,
        "distinct points": outcome.distinct,
        "repeats": outcome.repeats,
        "reused": outcome.reused,
        "skips": outcome.skipped,
        "seconds": outcome.seconds,
    }


def _outcome(url: str, name: str, ledger: Path, seconds: float) -> Outcome:
    evaluated = Counter(ledger.read_text().splitlines())
    trials = optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)
    twins = [trial for trial in trials if "msg" in trial.user_attrs.get("HOST", {})]
    return Outcome(
        evaluations=evaluated.total(),
        distinct=len(evaluated),
        reused=sum(trial.state is TrialState.COMPLETE for trial in twins),
        skipped=sum(trial.state is TrialState.FAIL for trial in twins),
        seconds=seconds,
    )


def _plain(ground: Ground, workers: Crew, sampler: str, *, uses_recipe: bool) -> Outcome:
    ledger = ground.directory() / "ledger"
    with ground.database("postgresql") as url:
        optuna.create_study(storage=url, study_name="plain")
        laps = workers.run(_work, url, sampler, ledger, uses_recipe=uses_recipe)
        return _outcome(url, "plain", ledger, seconds(laps))


def _work(_: int, url: str, sampler: str, ledger: Path, *, uses_recipe: bool) -> Lap:
    def evaluate(trial: optuna.Trial) -> float:
        params = {f"TUNED_PARAM_{name.upper()}": str(value) for name, value in trial.params.items()}
        ran = subprocess.run(
            _command(ledger, PAUSE_SECONDS), env={**os.environ, **params}, check=True, capture_output=True
        )
        return float(ran.stdout)

    def draw(trial: optuna.Trial) -> None:
        trial.suggest_int("x", 0, 7)
        trial.suggest_int("y", 0, 7)

    evaluate_new = with_recipe(evaluate) if uses_recipe else evaluate

    def objective(trial: optuna.Trial) -> float:
        draw(trial)
        return evaluate_new(trial)

    storage = RDBStorage(url)
    study = optuna.load_study(storage=storage, study_name="plain", sampler=SAMPLERS[sampler]())
    # Optuna's grid ends by itself, as soon as a worker sees that all is done.
    share = None if sampler == "grid" else TRIALS // SLOTS
    found = lap(lambda: study.optimize(objective, n_trials=share))
    storage.engine.dispose()
    return found


def _tuned(ground: Ground, pause_seconds: float) -> dict[tuple[str, str], Outcome]:
    """By policy and sampler."""
    outcomes = {}
    with (
        ground.database("postgresql") as url,
        host.running(ground.directory(), url, slots=SLOTS) as daemon,
    ):
        for name, policy, sampler, more in _experiments():
            ledger = daemon.home / f"{name}.ledger"
            text = host.experiment(
                _command(ledger, pause_seconds), SPACE, sampler=sampler, trials=TRIALS, more=more
            )
            began = time.monotonic()
            daemon.run(name, text)
            outcomes[policy, sampler] = _outcome(url, name, ledger, time.monotonic() - began)
    return outcomes


def _experiments() -> Iterator[tuple[str, str, str, str]]:
    """Name, policy, sampler, and the text of the policy."""
    for sampler in SAMPLERS:
        for on_complete, on_running in POLICIES:
            more = f'[dedup]\non_complete = "{on_complete}"\non_running = "{on_running}"\n'
            yield f"{sampler}-{on_complete}-{on_running}", f"{on_complete} + {on_running}", sampler, more
