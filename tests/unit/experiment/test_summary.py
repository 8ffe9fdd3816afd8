"""The lines that describe an experiment."""

from __future__ import annotations

from tests.unit.experiment.sources import (
    FULL,
    MINIMAL,
    STEPPED,
    read,
    sampler,
)
from tuned.experiment.summary import summary


def test_the_summary_says_what_will_run() -> None:
    assert summary(read(FULL)) == [
        "study: minima, maximize",
        "runs: python3 train.py --size={size} {{{optimizer}}}",
        "space: continuous (size, lr, optimizer)",
        "sampler: tpe, seed 42",
        "budget: 100 trials, 60 evaluations, 8h",
        "at once: 4 on this host",
        "each trial: memory 1536M, cpus 2, pids 512, gpus 0.1",
        "first: 1 given point",
    ]


def test_the_summary_counts_a_finite_space() -> None:
    lines = summary(read(sampler('name = "grid"', STEPPED)))
    assert "space: 5 points (lr)" in lines
    assert "budget: none, it ends when the space is exhausted" in lines


def test_a_space_without_an_end_runs_until_somebody_cancels_it() -> None:
    assert "budget: none, it runs until cancelled" in summary(read(MINIMAL))


def test_a_direction_that_was_left_out_is_said() -> None:
    assert summary(read(MINIMAL), has_direction=False)[0] == "study: minima, minimize (the default)"
