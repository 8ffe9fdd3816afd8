"""Quality: whether drawing ahead finds worse points than ``study.optimize`` with the same number of workers.

Both searches run by a clock that only counts: an evaluation takes a random time, and what ends first is told
first. tuned's is the real Search on a real database: as it draws for evaluations that take long, and as it
draws ahead for short ones. A point that is drawn ahead misses what ended since the last claim.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import TPESampler
from scipy.stats import mannwhitneyu

from benchmarks.crew import Crew, crew
from benchmarks.ground import Ground
from benchmarks.report import Cell, Report
from tests.factories import join, linked, make_experiment
from tuned.domain.claim import Claimed
from tuned.events import Events
from tuned.search.search import Search
from tuned.storage.encoding import Encoding
from tuned.storage.link import Link
from tuned.storage.trials.tells import tell

SEEDS = 24
#: That share the seeds; a search has nothing to do with it.
PROCESSES = 2
WORKERS = 4
TRIALS = 60

#: Seconds of an evaluation: so many that a point is drawn as a slot asks, or so few that all are drawn ahead.
SECONDS = {"tuned": 3600.0, "tuned, ahead": 0.001}

#: Half of all pairs, less twice the error of so many seeds on three functions.
FEWEST_WON = 50 - 2 * 100 * math.sqrt(1 / (6 * SEEDS) / 3)

FLOAT = '[space.{name}]\ntype = "float"\nlow = {low}\nhigh = {high}\n'


def _sphere(values: Mapping[str, Any]) -> float:
    return sum(float(value - 1) ** 2 for value in values.values())


def _rosenbrock(values: Mapping[str, Any]) -> float:
    x, y, z = values["x"], values["y"], values["z"]
    return float(100 * (y - x * x) ** 2 + (1 - x) ** 2 + 100 * (z - y * y) ** 2 + (1 - y) ** 2)


def _mixed(values: Mapping[str, Any]) -> float:
    """As hyperparameters are: a rate on a logarithmic scale, layers, and a choice that shifts both."""
    shift = {"adam": 0.0, "sgd": 1.0, "rmsprop": 0.5}[values["kind"]]
    rate = math.log10(values["rate"]) + 3 - shift
    return float(rate * rate + 0.3 * (values["layers"] - 5) ** 2 + shift + values["dropout"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function to minimize, and its space."""

    value: Callable[[Mapping[str, Any]], float]
    space: str


FUNCTIONS = {
    "sphere, 5 floats": Function(
        value=_sphere, space="".join(FLOAT.format(name=name, low=-5.0, high=5.0) for name in "abcde")
    ),
    "Rosenbrock, 3 floats": Function(
        value=_rosenbrock, space="".join(FLOAT.format(name=name, low=-2.0, high=2.0) for name in "xyz")
    ),
    "mixed, 4 parameters": Function(
        value=_mixed,
        space='[space.rate]\ntype = "float"\nlow = 1e-6\nhigh = 1.0\nlog = true\n'
        '[space.layers]\ntype = "int"\nlow = 1\nhigh = 12\n'
        '[space.kind]\ntype = "categorical"\nchoices = ["adam", "sgd", "rmsprop"]\n'
        + FLOAT.format(name="dropout", low=0.0, high=0.9),
    ),
}


def measure(ground: Ground, report: Report) -> None:
    rows: list[dict[str, Cell]] = []
    shares: dict[str, list[float]] = {}
    with crew(PROCESSES) as workers:
        for name in FUNCTIONS:
            found = _best(ground, workers, name)
            plain = found["study.optimize"]
            row: dict[str, Cell] = {"function": name}
            row |= {who: _quartiles(values) for who, values in found.items()}
            for who in SECONDS:
                share = _superiority(found[who], plain)
                shares.setdefault(who, []).append(100 * share)
                row[f"{who} wins"] = f"{share:.0%}"
                row[f"{who}: p (worse)"] = _chance(found[who], plain)
            rows.append(row)
    report.table(
        f"Quality: best after {TRIALS} trials of TPE, {WORKERS} workers, median (quartiles) of {SEEDS} seeds;"
        " pairs that tuned wins; Mann-Whitney",
        rows,
    )
    for who, percents in shares.items():
        report.figure(
            f"percent of pairs that {who} wins, mean", statistics.mean(percents), at_least=FEWEST_WON
        )


def _best(ground: Ground, workers: Crew, name: str) -> dict[str, list[float]]:
    with ground.database("postgresql") as url:
        found = workers.run(_compare, url, name)
    return {who: [value for share in found for value in share[who]] for who in found[0]}


def _chance(ours: list[float], theirs: list[float]) -> float:
    """If there were no difference, one as bad as was found would come by chance as often."""
    return float(mannwhitneyu(ours, theirs, alternative="greater").pvalue)


def _quartiles(values: list[float]) -> str:
    low, median, high = statistics.quantiles(values, n=4)
    return f"{median:.3g} ({low:.3g} to {high:.3g})"


def _superiority(ours: list[float], theirs: list[float]) -> float:
    """Of all pairs of a search of ours and one of theirs, how many ours wins; ties count half."""
    points = [1.0 if a < b else 0.5 if a == b else 0.0 for a in ours for b in theirs]
    return sum(points) / len(points)


def _compare(number: int, url: str, name: str) -> dict[str, list[float]]:
    """The best values of one process's share of the seeds."""
    seeds = range(number, SEEDS, PROCESSES)
    function = FUNCTIONS[name]
    return {
        "study.optimize": [_search_optuna(function, seed) for seed in seeds],
        **{who: asyncio.run(_search_all(url, function, seeds, seconds)) for who, seconds in SECONDS.items()},
    }


class _Clock:
    """Evaluations under way, by a clock that only counts."""

    def __init__(self, seed: int) -> None:
        self._durations = random.Random(seed)
        self._running: list[tuple[float, int, Any]] = []
        self._now = 0.0
        self._begun = itertools.count()

    def begin(self, slot: int, trial: Any) -> None:
        ends = self._now + self._durations.uniform(0.5, 1.5)
        heapq.heappush(self._running, (ends, next(self._begun), (slot, trial)))

    def end(self) -> tuple[int, Any]:
        """The slot and the trial of the evaluation that ends first."""
        self._now, _, ended = heapq.heappop(self._running)
        slot, trial = ended
        return slot, trial


def _search_optuna(function: Function, seed: int) -> float:
    study = optuna.create_study(sampler=TPESampler(seed=seed))
    distributions = Encoding(make_experiment(space=function.space).space).distributions
    clock = _Clock(seed)
    for begun in range(TRIALS + WORKERS):
        slot = begun
        if begun >= WORKERS:
            slot, trial = clock.end()
            study.tell(trial, function.value(trial.params))
        if begun < TRIALS:
            clock.begin(slot, study.ask(distributions))
    return study.best_value


async def _search_all(url: str, function: Function, seeds: range, seconds: float) -> list[float]:
    async with linked(url) as link:
        return [await _search_tuned(link, function, seed, seconds) for seed in seeds]


async def _search_tuned(link: Link, function: Function, seed: int, seconds: float) -> float:
    name = f"seed-{seed}-{seconds:g}"
    experiment = make_experiment('[sampler]\nname = "tpe"\n', space=function.space, name=name)
    member = join(link.database, experiment, name)
    search = await Search.begin(
        link,
        Events(name),
        experiment,
        encoding=member.encoding,
        status=member.status,
        claimant=member.claimant,
        file=name,
    )
    search.busy = WORKERS
    clock = _Clock(seed)
    values = []
    for begun in range(TRIALS + WORKERS):
        slot = begun
        if begun >= WORKERS:
            slot, claimed = clock.end()
            values.append(function.value(claimed.point.values))
            result = member.result(claimed, values[-1])
            search.note_ended(result, seconds)
            await link.call(tell, result)
            search.note_told(result)
        if begun < TRIALS:
            clock.begin(slot, await _claim(search, slot))
    return min(values)


async def _claim(search: Search, slot: int) -> Claimed:
    """Claims the next point, and waits for the draws ahead: they are over before the next trial ends."""
    while not isinstance(claimed := await search.claim_next(slot), Claimed):
        pass
    if ahead := search._claiming._prefetch._ahead:
        await asyncio.wait(ahead)
    return claimed
