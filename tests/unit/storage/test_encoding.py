"""Points become rows as Optuna stores them, and are restored from them."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution, json_to_distribution

from tests.factories import CONTINUOUS, MIXED, make_experiment
from tuned.storage.encoding import Encoding


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (MIXED, {"size": 3, "rate": 0.6, "kind": True}),
        (MIXED, {"size": 9, "rate": 1.0, "kind": "a"}),
        (CONTINUOUS, {"lr": 0.1 / 3}),
    ],
)
def test_a_point_is_restored_from_its_rows(space: str, values: dict[str, Any]) -> None:
    encoding = Encoding(make_experiment(space=space).space)
    point = encoding.space.point(values)
    rows = encoding.rows(point)
    assert encoding.point_of_rows({row.param_name: row.param_value for row in rows}) == point
    assert {r.param_name: json_to_distribution(r.distribution_json) for r in rows} == encoding.distributions


def test_the_upper_bound_in_optuna_is_the_last_value_that_a_step_reaches() -> None:
    space = '[space.n]\ntype = "int"\nlow = 0\nhigh = 8\nstep = 3\n'
    assert Encoding(make_experiment(space=space).space).distributions == {"n": IntDistribution(0, 6, step=3)}


@pytest.mark.parametrize(
    ("values", "distributions"),
    [
        ({"x": 5}, {"x": IntDistribution(0, 9)}),
        ({"x": 5.0}, {"x": FloatDistribution(0.0, 8.0)}),
        ({}, {}),
        ({"x": 9}, {"x": IntDistribution(0, 8)}),
    ],
    ids=["range", "type", "missing", "outside"],
)
def test_a_trial_whose_parameters_are_not_exactly_ours_has_no_point(
    values: dict[str, Any], distributions: dict[str, BaseDistribution]
) -> None:
    encoding = Encoding(make_experiment().space)
    assert encoding.point({"x": 5}, {"x": IntDistribution(0, 8)}) is not None
    assert encoding.point(values, distributions) is None
