"""Pruning: the epochs that searches spend until they have found as good a value as without a rule.

Each search has an amount of epochs, and begins as many trainings as these allow. They are replayed from a
table of learning curves (``curves.py``), by a clock that only counts. tuned's search and its judgement are
the real ones on a real database; plain Optuna has the same sampler, rules and workers.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import math
import os
import random
import statistics
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from benchmarks import curves
from benchmarks.compared import chance, databases, least_of, quartiles
from benchmarks.crew import Crew, crew
from benchmarks.ground import Ground
from benchmarks.report import Cell, Report
from benchmarks.virtual import WORKERS, begun_search
from tests.factories import Member, linked
from tuned.domain.claim import Claimed
from tuned.search.pruning import PruningStudy, Reported
from tuned.search.search import Search
from tuned.storage.link import Link
from tuned.storage.trials.tells import tell

SEEDS = int(os.environ.get("TUNED_BENCH_SEEDS", "30"))
PROCESSES = 2

#: Of the epochs without a rule, for the same median of the best values.
MOST_PERCENT = 40.0

#: That a search without a rule has: for 60 whole trainings.
EPOCHS = 60 * curves.EPOCHS

#: If there were no difference in any comparison, one of them would come out as bad by chance as often.
LEAST_CHANCE = 0.05

#: The tables of the experiment files, and the same rules for plain Optuna.
RULES: Mapping[str, tuple[str, Callable[[], BasePruner]]] = {
    "none": ("", optuna.pruners.NopPruner),
    "median": ('[pruner]\nname = "median"\n', optuna.pruners.MedianPruner),
    "successive-halving": (
        '[pruner]\nname = "successive-halving"\nmin_resource = 1\nreduction_factor = 3\n',
        lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    ),
    "hyperband": (
        f'[pruner]\nname = "hyperband"\nmin_resource = 1\nmax_resource = {curves.EPOCHS}\n',
        lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=curves.EPOCHS),
    ),
}

#: By tuned's name. A sampler that learns draws few bad points, so a rule has less to save.
SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
}

_SPANS: Mapping[str, tuple[float, ...]] = {
    "rate": curves.RATES,
    "momentum": curves.MOMENTA,
    "width": curves.WIDTHS,
    "batch": curves.BATCHES,
    "alpha": curves.ALPHAS,
}

#: Each number stands for the nearest one of the table, so that no point is drawn twice.
SPACE = (
    "".join(
        f'[space.{name}]\ntype = "float"\nlow = {min(known)}\nhigh = {max(known)}\n'
        f"log = {str(name != 'momentum').lower()}\n"
        for name, known in _SPANS.items()
    )
    + f'[space.activation]\ntype = "categorical"\nchoices = {list(curves.ACTIVATIONS)}\n'
)


@dataclass(slots=True)
class Course:
    """How a search went."""

    #: After each trial that has a value: the epochs that were spent, and the best value.
    best: list[tuple[int, float]] = field(default_factory=list)
    epochs: int = 0
    #: That have ended.
    trials: int = 0

    def complete(self, value: float) -> None:
        before = self.best[-1][1] if self.best else value
        self.best.append((self.epochs, min(value, before)))

    def best_by(self, epochs: int) -> float:
        return min((value for spent, value in self.best if spent <= epochs), default=math.inf)


def epochs_of(rule: str) -> int:
    """How many epochs a search with this rule has."""
    return EPOCHS if rule == "none" else math.ceil(EPOCHS * MOST_PERCENT / 100)


class _Clock:
    """Trainings under way: a random speed each, and one epoch at a time."""

    def __init__(self, seed: int) -> None:
        self._speeds = random.Random(seed)
        self._running: list[tuple[float, int, float, Any]] = []
        self._turn = 0
        self._now = 0.0

    def begin(self, training: Any) -> None:
        self.go_on(training, self._speeds.uniform(0.5, 1.5))

    def go_on(self, training: Any, takes: float) -> None:
        self._turn += 1
        heapq.heappush(self._running, (self._now + takes, self._turn, takes, training))

    def next(self) -> tuple[Any, float]:
        """The training whose epoch ends first, and how long its epochs take."""
        self._now, _, takes, training = heapq.heappop(self._running)
        return training, takes


def measure(ground: Ground, report: Report) -> None:
    chances: list[float] = []
    with crew(PROCESSES) as workers:
        for sampler in SAMPLERS:
            found = {rule: _searches(ground, workers, sampler, rule) for rule in RULES}
            chances += [_chance(rule, *courses) for rule, courses in found.items()]
            goal = _median_best(found["none"][0], EPOCHS)
            enough = {rule: 100 * _epochs_until(tuned, goal) / EPOCHS for rule, (tuned, _) in found.items()}
            report.table(
                f"Pruning: best loss, {sampler} sampler, {WORKERS} slots; median (quartiles), {SEEDS} seeds",
                [_row(rule, *found[rule], enough[rule]) for rule in RULES],
            )
            best = min(percent for rule, percent in enough.items() if rule != "none")
            what = f"percent of the epochs without a rule, for the same median best, {sampler} sampler"
            report.figure(what, best, at_most=MOST_PERCENT)
    least = least_of(chances)
    report.figure("p that no rule is worse than in study.optimize (Bonferroni)", least, at_least=LEAST_CHANCE)


def _row(rule: str, tuned: list[Course], plain: list[Course], enough: float) -> dict[str, Cell]:
    epochs = epochs_of(rule)
    return {
        "rule": rule,
        "epochs": epochs,
        "tuned: trials": statistics.median(course.trials for course in tuned),
        "best": quartiles([course.best_by(epochs) for course in tuned]),
        "% of epochs for the best of none": f"{enough:.0f}" if enough <= 100 else "-",
        "study.optimize: trials": statistics.median(course.trials for course in plain),
        "its best": quartiles([course.best_by(epochs) for course in plain]),
        "p (worse)": _chance(rule, tuned, plain),
    }


def _chance(rule: str, tuned: list[Course], plain: list[Course]) -> float:
    ours, theirs = ([course.best_by(epochs_of(rule)) for course in courses] for courses in (tuned, plain))
    return chance(ours, theirs)


def _median_best(courses: list[Course], epochs: int) -> float:
    return statistics.median(course.best_by(epochs) for course in courses)


def _epochs_until(courses: list[Course], goal: float) -> float:
    """The epochs after which the median of the best values is as good; infinity if it never is."""
    steps = sorted({spent for course in courses for spent, _ in course.best})
    return next((spent for spent in steps if _median_best(courses, spent) <= goal), math.inf)


def _searches(ground: Ground, workers: Crew, sampler: str, rule: str) -> tuple[list[Course], list[Course]]:
    with databases(ground, PROCESSES) as urls:
        shares = workers.run(_share, urls, sampler, rule)
    return [c for tuned, _ in shares for c in tuned], [c for _, plain in shares for c in plain]


def _share(number: int, urls: list[str], sampler: str, rule: str) -> tuple[list[Course], list[Course]]:
    seeds, table = range(number, SEEDS, PROCESSES), curves.read()
    tuned = asyncio.run(_search_all(urls[number], sampler, rule, seeds, table))
    return tuned, [_search_optuna(sampler, rule, seed, table) for seed in seeds]


async def _search_all(
    url: str, sampler: str, rule: str, seeds: range, table: Mapping[Any, list[float]]
) -> list[Course]:
    async with linked(url) as link:
        return [await _search_tuned(link, sampler, rule, seed, table) for seed in seeds]


@dataclass(slots=True)
class _Training:
    claimed: Claimed
    curve: list[float]
    slot: int
    rungs: dict[str, float] = field(default_factory=dict)
    epochs: int = 0


async def _search_tuned(
    link: Link, sampler: str, rule: str, seed: int, table: Mapping[Any, list[float]]
) -> Course:
    member, search = await begun_search(link, f"{rule}-{seed}", SPACE, RULES[rule][0], sampler=sampler)
    experiment = member.experiment
    judge = PruningStudy(link.database, experiment, member.status, search.history, objective=0)
    clock, course = _Clock(seed), Course()

    async def begin(slot: int) -> None:
        claimed = await _claimed(search, slot)
        clock.begin(_Training(claimed, table[_model(claimed.point.values)], slot))

    for slot in range(WORKERS):
        await begin(slot)
    while course.epochs < epochs_of(rule):
        training, pruned = await _until_one_ends(link, experiment.pruner, judge, clock, course)
        course.trials += 1
        await _told(link, member, search, training, is_pruned=pruned)
        await begin(training.slot)
    return course


async def _claimed(search: Search, slot: int) -> Claimed:
    while True:
        outcome = await search.claim_next(slot)
        if isinstance(outcome, Claimed):
            return outcome


async def _until_one_ends(
    link: Link, pruner: Any, judge: PruningStudy, clock: _Clock, course: Course
) -> tuple[_Training, bool]:
    while True:
        training, takes = clock.next()
        training.epochs += 1
        course.epochs += 1
        if pruner is not None:
            if judge.history.has_notes:
                await link.run(judge.sync, pruner)
            judgement = judge.judge(pruner, _reported(training))
            training.rungs.update(judgement.rungs)
            if judgement.pruning is not None:
                return training, True
        if training.epochs == curves.EPOCHS:
            course.complete(training.curve[-1])
            return training, False
        clock.go_on(training, takes)


def _reported(training: _Training) -> Reported:
    values = dict(enumerate(training.curve[: training.epochs], 1))
    return Reported(
        trial_id=training.claimed.trial_id,
        number=training.claimed.number,
        judged={step: value for step, value in values.items() if step < training.epochs},
        new=[(training.epochs, values[training.epochs])],
        rungs=training.rungs,
    )


async def _told(link: Link, member: Member, search: Search, training: _Training, *, is_pruned: bool) -> None:
    values = dict(enumerate(training.curve[: training.epochs], 1))
    last = training.curve[training.epochs - 1]
    rungs = {name: json.dumps(value) for name, value in training.rungs.items()}
    result = member.result(
        training.claimed, last, is_pruned=is_pruned, intermediate=values, system_attrs=rungs
    )
    search.note_ended(result, 3600.0)
    await link.call(tell, result)
    search.note_told(result)


def _model(values: Mapping[str, Any]) -> curves.Model:
    """The nearest model of the table."""
    rate, width, batch, alpha = (
        min(_SPANS[name], key=lambda each: abs(math.log(each / values[name])))
        for name in ("rate", "width", "batch", "alpha")
    )
    momentum = min(curves.MOMENTA, key=lambda each: abs(each - values["momentum"]))
    return curves.Model(rate, momentum, int(width), int(batch), alpha, values["activation"])


def _search_optuna(sampler: str, rule: str, seed: int, table: Mapping[Any, list[float]]) -> Course:
    """``study.optimize`` with so many workers: each asks when it is free."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(
            sampler=SAMPLERS[sampler](seed), pruner=RULES[rule][1](), study_name=f"{rule}-{seed}"
        )
        clock, course = _Clock(seed), Course()

        def begin() -> None:
            trial = study.ask()
            for name, known in _SPANS.items():
                trial.suggest_float(name, min(known), max(known), log=name != "momentum")
            trial.suggest_categorical("activation", curves.ACTIVATIONS)
            clock.begin([trial, table[_model(trial.params)], 0])

        for _ in range(WORKERS):
            begin()
        while course.epochs < epochs_of(rule):
            _finish_one(study, clock, course)
            course.trials += 1
            begin()
    return course


def _finish_one(study: optuna.Study, clock: _Clock, course: Course) -> None:
    while True:
        training, takes = clock.next()
        trial, curve, epochs = training
        course.epochs += 1
        trial.report(curve[epochs], epochs + 1)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
        if epochs + 1 == curves.EPOCHS:
            course.complete(curve[-1])
            study.tell(trial, curve[-1])
            return
        training[2] = epochs + 1
        clock.go_on(training, takes)
