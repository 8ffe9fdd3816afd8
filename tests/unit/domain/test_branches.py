"""The values of one parameter, by the conditions that tell them apart."""

from __future__ import annotations

import math

import pytest

from tuned.domain.branches import branches, holds, spans
from tuned.domain.conditions import Between, OneOf
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter

N = IntParameter(name="n", low=10, high=30, step=2)
X = FloatParameter(name="x", low=0.0, high=1.0, step=0.1)
RATE = FloatParameter(name="rate", low=0.0, high=1.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (10, 30, (0, 10)),
        (11, 15, (1, 2)),
        (12, 14, (1, 2)),
        (13, 13, None),
        (None, 9, None),
        (29, None, (10, 10)),
        (0, 99, (0, 10)),
    ],
)
def test_a_range_of_an_integer_has_the_steps_inside(
    low: int | None, high: int | None, expected: tuple[int, int] | None
) -> None:
    assert N.between(low, high) == expected


def test_a_range_of_a_stepped_float_is_exact_in_decimal() -> None:
    assert X.between(0.3, 0.6) == (3, 6)
    assert X.between(0.31, 0.69) == (4, 6)
    assert X.between(0.61, 0.69) is None


def test_a_range_of_choices_is_none() -> None:
    assert CategoricalParameter(name="c", choices=(1, 2, 3)).between(1, 2) is None


def test_each_value_is_in_exactly_one_branch() -> None:
    terms = [(1, spans(N, Between(low=14, high=20))), (2, spans(N, OneOf(values=(10, 20, 30))))]
    found = branches(N, terms)
    assert {branch.kills: branch.spans for branch in found} == {
        1: ((0, 0), (10, 10)),
        3: ((1, 1), (6, 9)),
        2: ((2, 4),),
        0: ((5, 5),),
    }
    places = [branch.place(number) for branch in found for number in range(branch.size(N) or 0)]
    assert sorted(places) == list(range(11))


def test_the_branches_of_a_continuous_parameter_meet_between_two_floats() -> None:
    inner, outer = branches(RATE, [(1, spans(RATE, Between(low=0.0, high=0.5)))])
    assert inner.spans == ((0.0, 0.5),)
    assert outer.spans == ((math.nextafter(0.5, 1), 1.0),)
    assert inner.size(RATE) is None


def test_a_step_counts_as_the_same_value_in_optunas_rounding() -> None:
    assert holds(X, OneOf(values=(0.6,)), 0.6000000000000001)
    assert holds(X, Between(high=0.6), 0.6000000000000001)
    assert not holds(X, Between(high=0.6), 0.7000000000000001)
