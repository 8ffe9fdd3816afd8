"""The table [budget]."""

from __future__ import annotations

import json

import pytest

from tests.unit.experiment.sources import read, told, with_parts

_SPAN = 'a time span such as "90s", "1h 30min" or a number of seconds'

_REFUSED = {
    "trials": (with_parts(budget="[budget]\ntrials = 0"), "budget.trials: found 0, expected at least 1"),
    "evaluations": (
        with_parts(budget="[budget]\nevaluations = 1.5"),
        "budget.evaluations: found 1.5, expected an integer",
    ),
    "more trials than a column holds": (
        with_parts(budget="[budget]\ntrials = 9_999_999_999"),
        "budget.trials: found 9999999999, expected at most 2147483647",
    ),
    "more evaluations than a column holds": (
        with_parts(budget="[budget]\nevaluations = 2147483648"),
        "budget.evaluations: found 2147483648, expected at most 2147483647",
    ),
    "a target of another type": (
        with_parts(budget='[budget]\ntarget = "best"'),
        'budget.target: found "best", expected a finite number, or an array of finite numbers',
    ),
    "an infinite target": (
        with_parts(budget="[budget]\ntarget = [inf]"),
        "budget.target: found an array, expected a finite number, or an array of finite numbers",
    ),
    "several targets": (
        with_parts(budget="[budget]\ntarget = [1, 2]"),
        "budget.target: found 2 of them, expected one number",
    ),
    "stalled": (with_parts(budget="[budget]\nstalled = 0"), "budget.stalled: found 0, expected at least 1"),
    "min_delta below 0": (
        with_parts(budget="[budget]\nstalled = 5\nmin_delta = -0.5"),
        "budget.min_delta: found -0.5, expected at least 0",
    ),
    "min_delta alone": (
        with_parts(budget="[budget]\nmin_delta = 0.5"),
        "budget.min_delta: found no stalled beside it, expected it only with stalled",
    ),
    "several min_delta": (
        with_parts(budget="[budget]\nstalled = 5\nmin_delta = [1, 2]"),
        "budget.min_delta: found 2 of them, expected one number",
    ),
    "when_over": (
        with_parts(budget='[budget]\nwhen_over = "kill"'),
        'budget.when_over: found "kill", expected "finish" or "abort"',
    ),
    "time": (with_parts(budget='[budget]\ntime = "-1h"'), f'budget.time: found "-1h", expected {_SPAN}'),
}


@pytest.mark.parametrize(("source", "line"), _REFUSED.values(), ids=_REFUSED)
def test_a_mistake_is_told_in_one_line(source: str, line: str) -> None:
    assert told(source) == [f"x.toml: {line}"]


@pytest.mark.parametrize(
    "budget", ["target = 0.5\nstalled = 9\nmin_delta = 0", "target = [0.5]\nstalled = 9"]
)
def test_a_number_for_the_one_objective_stays_a_number(budget: str) -> None:
    experiment = read(with_parts(budget=f"[budget]\n{budget}"))
    assert json.loads(experiment.definition())["budget"]["target"] == 0.5
    assert experiment.budget.target == (0.5,)
    assert experiment.adopt(experiment.definition()) == experiment
