"""Two samples beside each other: how often one is better, and whether that is chance; less is better.

It also gives each process of a crew a database of its own.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator

from scipy.stats import mannwhitneyu

from benchmarks.ground import Ground


def chance(ours: list[float], theirs: list[float]) -> float:
    """If there were no difference, one as bad as was found would come by chance as often."""
    return float(mannwhitneyu(ours, theirs, alternative="greater").pvalue)


def least_of(chances: list[float]) -> float:
    """The least of several, as if there had been one comparison (Bonferroni)."""
    return min(1.0, min(chances) * len(chances))


def quartiles(values: list[float]) -> str:
    low, median, high = statistics.quantiles(values, n=4)
    return f"{median:.3g} ({low:.3g} to {high:.3g})"


@contextlib.contextmanager
def databases(ground: Ground, processes: int) -> Iterator[list[str]]:
    """One for each process, so that they do not wait for each other."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(ground.database("postgresql")) for _ in range(processes)]
