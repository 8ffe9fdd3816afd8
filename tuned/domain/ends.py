"""When the values of a search end it: a target is reached, or nothing has become better for too long.

Owns the rules, how far a search is by them, and the words for its end. It must never know where they are
kept, or which trials count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tuned.domain.counts import counted

Values = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The rules of one study. Each tuple has one entry for each objective."""

    #: True if the objective is maximized.
    rises: tuple[bool, ...]
    target: Values | None = None
    #: So many evaluated trials in a row without a better value.
    stalled: int | None = None
    #: A value is better by more than this.
    min_delta: Values = ()

    def are_reached_by(self, values: Values) -> bool:
        """Whether one trial with these values reaches the target."""
        return self.target is not None and all(map(_is_as_good, self.rises, values, self.target))

    def is_better(self, values: Values, front: tuple[Values, ...]) -> bool:
        """Whether the values are better in some objective than each of these."""
        return all(self._is_ahead(values, member) for member in front)

    def front_with(self, values: Values, front: tuple[Values, ...]) -> tuple[Values, ...]:
        """The front with these values, and without those that they are as good as or better in everything."""
        return (*(each for each in front if not all(map(_is_as_good, self.rises, values, each))), values)

    def _is_ahead(self, values: Values, member: Values) -> bool:
        return any(
            (value - other if rises else other - value) > delta
            for rises, value, other, delta in zip(self.rises, values, member, self.min_delta, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a search is by its rules."""

    #: The values that the next trial must better: the best one, or the Pareto front.
    front: tuple[Values, ...] = ()
    #: The number of the trial that gave the newest of them; None without any.
    since: int | None = None
    #: Evaluated trials since then.
    stalled: int = 0

    def after(self, ends: Ends, number: int, values: Values | None) -> Progress:
        """After one more evaluated trial; its values are None if it failed or was pruned."""
        if values is None or not ends.is_better(values, self.front):
            return replace(self, stalled=self.stalled + 1)
        return Progress(front=ends.front_with(values, self.front), since=number)


def reached(target: Values, number: int, host: str | None) -> str:
    """Why a search ends whose target a trial reached; without a host it is another program's."""
    what = "target" if len(target) == 1 else "targets"
    numbers = ", ".join(f"{each:.12g}" for each in target)
    where = f"on {host}" if host else "of another program"
    return f"{what} {numbers} reached by trial {number} {where}"


def stalled(ends: Ends, progress: Progress) -> str | None:
    """Why a search ends in which nothing has become better for too long; None if it goes on."""
    if ends.stalled is None or progress.stalled < ends.stalled:
        return None
    count = counted(progress.stalled, "evaluation")
    if progress.since is None:
        return f"no value in {count}"
    return f"nothing better in {count} since trial {progress.since}"


def _is_as_good(rises: bool, value: float, other: float) -> bool:
    return value >= other if rises else value <= other
