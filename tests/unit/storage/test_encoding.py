"""Points become rows as Optuna stores them, and are restored from them."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution, json_to_distribution

from tests.factories import CONDITIONAL, CONTINUOUS, MIXED, make_experiment
from tuned.domain.space import Value
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


def test_a_parameter_that_does_not_exist_has_no_row_and_no_point_with_it() -> None:
    encoding = Encoding(make_experiment(space=CONDITIONAL).space)
    point = encoding.space.point({"optimizer": "adam", "size": 1})
    rows = {row.param_name: row.param_value for row in encoding.rows(point)}
    assert rows.keys() == {"optimizer", "size"}
    assert encoding.point_of_rows(rows) == point
    assert encoding.point(point.values, _some(encoding, *rows)) == point
    with_more = {**point.values, "momentum": 0.1}
    assert encoding.point(with_more, _some(encoding, *with_more)) is None


def test_a_forbidden_trial_has_no_point() -> None:
    encoding = Encoding(make_experiment(space=CONDITIONAL).space)
    values: dict[str, Value] = {"optimizer": "adam", "size": 5, "decay": "fast"}
    assert encoding.point(values, _some(encoding, *values)) is None


def _some(encoding: Encoding, *names: str) -> dict[str, BaseDistribution]:
    return {name: encoding.distributions[name] for name in names}
