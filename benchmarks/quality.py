"""Quality: whether searches are as good as ``study.optimize``, and find as much in a second as drawing ahead.

All of them go by a clock that only counts (``virtual.py``). ``TUNED_BENCH_SEEDS`` sets how many there are of
each.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from dataclasses import dataclass

from benchmarks.compared import chance, databases, least_of, quartiles
from benchmarks.crew import Crew, crew
from benchmarks.functions import FUNCTIONS
from benchmarks.ground import Ground
from benchmarks.report import Cell, Report
from benchmarks.virtual import WORKERS, Course, search_optuna, search_tuned
from tests.factories import linked

SEEDS = int(os.environ.get("TUNED_BENCH_SEEDS", "24"))
#: That share the seeds; a search has nothing to do with it.
PROCESSES = 2
TRIALS = 60

#: How long commands take, in seconds.
COMMANDS = (0.0, 0.1, 1.0)

#: If there were no difference in any comparison, one of them would come out as bad by chance as often.
LEAST_CHANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The searches of one function, a course for each seed."""

    optuna: list[Course]
    #: By the seconds of a command.
    tuned: dict[float, list[Course]]
    ahead: dict[float, list[Course]]


def measure(ground: Ground, report: Report) -> None:
    rows: list[dict[str, Cell]] = []
    chances: list[float] = []
    won: dict[float, list[float]] = {seconds: [] for seconds in COMMANDS}
    with crew(PROCESSES) as workers:
        for name in FUNCTIONS:
            found = _searches(ground, workers, name)
            plain = [course.best[-1] for course in found.optuna]
            for seconds in COMMANDS:
                tuned, ahead = found.tuned[seconds], found.ahead[seconds]
                best = [course.best[-1] for course in tuned]
                wall = statistics.median(course.seconds[-1] for course in ahead)
                share = _superiority(
                    [course.best_by(wall) for course in tuned], [course.best_by(wall) for course in ahead]
                )
                won[seconds].append(100 * share)
                chances.append(chance(best, plain))
                rows.append(
                    {
                        "function": name,
                        "command": f"{seconds:g} s",
                        "study.optimize": quartiles(plain),
                        "tuned": quartiles(best),
                        "wins": f"{_superiority(best, plain):.0%}",
                        "p (worse)": chances[-1],
                        "ahead wins": f"{_superiority([c.best[-1] for c in ahead], plain):.0%}",
                        "seconds": statistics.median(course.seconds[-1] for course in tuned),
                        "seconds, ahead": wall,
                        "wins against ahead by then": f"{share:.0%}",
                    }
                )
    report.table(
        f"Quality: best after {TRIALS} trials of TPE, {WORKERS} workers, median (quartiles) of {SEEDS} seeds;"
        " pairs that tuned wins; Mann-Whitney",
        rows,
    )
    least = least_of(chances)
    report.figure("p that no search is worse than study.optimize (Bonferroni)", least, at_least=LEAST_CHANCE)
    for seconds, percents in won.items():
        what = f"percent of pairs won against drawing ahead in the same time, commands of {seconds:g} s, mean"
        report.figure(what, statistics.mean(percents), at_least=50.0)


def _searches(ground: Ground, workers: Crew, name: str) -> Found:
    with databases(ground, PROCESSES) as urls:
        shares = workers.run(_share, urls, name)
    return Found(
        optuna=[course for share in shares for course in share.optuna],
        tuned={seconds: [each for share in shares for each in share.tuned[seconds]] for seconds in COMMANDS},
        ahead={seconds: [each for share in shares for each in share.ahead[seconds]] for seconds in COMMANDS},
    )


def _share(number: int, urls: list[str], name: str) -> Found:
    """One process's share of the seeds."""
    seeds, url = range(number, SEEDS, PROCESSES), urls[number]
    return Found(
        optuna=[search_optuna(FUNCTIONS[name], seed, TRIALS) for seed in seeds],
        tuned={seconds: asyncio.run(_tuned(url, name, seeds, seconds, False)) for seconds in COMMANDS},
        ahead={seconds: asyncio.run(_tuned(url, name, seeds, seconds, True)) for seconds in COMMANDS},
    )


async def _tuned(url: str, name: str, seeds: range, seconds: float, is_ahead: bool) -> list[Course]:
    async with linked(url) as link:
        return [
            await search_tuned(link, FUNCTIONS[name], seed, TRIALS, seconds, is_ahead=is_ahead)
            for seed in seeds
        ]


def _superiority(ours: list[float], theirs: list[float]) -> float:
    """Of all pairs of a search of ours and one of theirs, how many ours wins; ties count half."""
    points = [1.0 if a < b else 0.5 if a == b else 0.0 for a in ours for b in theirs]
    return sum(points) / len(points)
