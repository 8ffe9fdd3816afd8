"""The lines that describe an experiment."""

from __future__ import annotations

import pytest

from tests.factories import CONDITIONAL, make_experiment
from tests.unit.experiment.sources import (
    FULL,
    MINIMAL,
    STEPPED,
    read,
    sampler,
    with_parts,
)
from tuned.experiment.summary import summary

_RATE = """
[space.rate]
type = "float"
low = 0.1
high = 1.0
"""


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


def test_the_summary_counts_the_points_of_each_branch() -> None:
    lines = summary(make_experiment(space=CONDITIONAL))
    assert lines[2:9] == [
        "space: 11 points (momentum, optimizer, size, decay)",
        '  optimizer = "adam": 8 points',
        '  optimizer = "sgd": 3 points',
        "  size = 1: 1 point",
        "  size = 2 to 5: 7 points",
        "  [[forbid]] takes out 1 point",
        "sampler: tpe (in groups of parameters that exist together)",
    ]


def test_the_summary_says_which_branches_are_finite() -> None:
    when = "when = { rate = { min = 0.5 } }"
    lines = summary(make_experiment(space=f"{_RATE}{CONDITIONAL}{_RATE.replace('rate', 'share')}{when}"))
    assert "space: continuous (rate, momentum, optimizer, size, decay, share)" in lines
    assert {"  rate = 0.1 to 0.5: continuous", "  rate = 0.5 to 1: continuous"} <= set(lines)
    finite = CONDITIONAL.replace("step = 0.1", "")
    lines = summary(make_experiment(space=finite))
    assert {'  optimizer = "sgd": continuous', '  optimizer = "adam": 8 points'} <= set(lines)
    assert not [line for line in lines if "[[forbid]]" in line]


@pytest.mark.parametrize("name", ["cmaes", "qmc", "gp", "nsgaii", "nsgaiii"])
def test_the_summary_says_that_a_sampler_has_no_model_of_conditions(name: str) -> None:
    lines = summary(make_experiment(f'[sampler]\nname = "{name}"', space=CONDITIONAL))
    assert any("draws parameters with a condition at random" in line for line in lines)


def test_a_space_without_an_end_runs_until_somebody_cancels_it() -> None:
    assert "budget: none, it runs until cancelled" in summary(read(MINIMAL))


def test_a_search_that_ends_by_its_values_says_how() -> None:
    budget = '[budget]\ntarget = 0.99\nstalled = 50\nmin_delta = 0.001\nwhen_over = "abort"'
    lines = summary(read(with_parts(budget=budget)))
    assert "budget: none" in lines
    assert (
        "ends: when a trial reaches 0.99; after 50 evaluations with nothing better by more than 0.001; "
        "what still runs at its end is killed"
    ) in lines


def test_a_direction_that_was_left_out_is_said() -> None:
    assert summary(read(MINIMAL), has_direction=False)[0] == "study: minima, minimize (the default)"
