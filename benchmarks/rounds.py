"""Rounds: contenders take turns, so that a busy moment of the machine hits both."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.report import Spread


def take_turns(rounds: int, contenders: Mapping[str, Callable[[int], float]]) -> dict[str, Spread]:
    """Calls each contender once a round with the round's number, every other round in the opposite order."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(reversed(list(contenders)))
        for name in order:
            samples[name].append(contenders[name](number))
    return {name: Spread(tuple(found)) for name, found in samples.items()}


def ratio(above: Spread, below: Spread) -> Spread:
    """The ratio in each round."""
    return Spread(tuple(a / b for a, b in zip(above.samples, below.samples, strict=True)))
