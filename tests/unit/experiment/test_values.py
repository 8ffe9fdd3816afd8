"""Values of parameters, as a file has them."""

from __future__ import annotations

import pytest

from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter
from tuned.experiment.values import is_value, values_of

N = IntParameter(name="n", low=0, high=8, step=2)
X = FloatParameter(name="x", low=0.0, high=1.0)
KIND = CategoricalParameter(name="kind", choices=("a", True))


@pytest.mark.parametrize(
    ("parameter", "right", "wrong"),
    [
        (N, [0, 8], [1, 2.0, True, "2", None]),
        (X, [0, 0.5], [True, 2, "1"]),
        (KIND, ["a", True], [1, "b", []]),
    ],
)
def test_a_value_is_of_the_parameters_own_type(
    parameter: IntParameter | FloatParameter | CategoricalParameter, right: list[object], wrong: list[object]
) -> None:
    assert all(is_value(parameter, value) for value in right)
    assert not any(is_value(parameter, value) for value in wrong)


def test_values_are_told_in_words() -> None:
    assert values_of(N) == "an integer from 0 to 8 in steps of 2"
    assert values_of(X) == "a number from 0.0 to 1.0"
    assert values_of(KIND) == '"a" or true'
