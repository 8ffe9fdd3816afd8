"""The search space: points and keys."""

from __future__ import annotations

import random

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, FloatDistribution

from tuned.domain.conditions import Between, OneOf
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Space, Value

#: Optuna warns when the end is not on a step.
_COARSE_END = pytest.mark.filterwarnings("ignore:The distribution is specified by")

_STEPS = st.sampled_from([0.1, 1e-3, 0.2, 0.25, 0.3, 0.05, 0.01, 0.7, 1.0, 1e-4, 3.0])
_LOWS = st.sampled_from([0.0, -1.0, 0.1, 0.3, -0.7, 1e-3, 5.0, 100.1, 12345.6])

_INTS = st.builds(
    lambda low, width, step: IntParameter(name="n", low=low, high=low + width, step=step),
    st.integers(-50, 50),
    st.integers(0, 12),
    st.integers(1, 5),
)
_STEPPED = st.builds(
    lambda low, count, step: FloatParameter(name="x", low=low, high=low + count * step, step=step),
    _LOWS,
    st.integers(0, 10),
    _STEPS,
)
_CHOICES = st.builds(
    lambda values: CategoricalParameter(name="c", choices=tuple(values)),
    st.lists(st.text(max_size=3), min_size=1, max_size=5, unique=True),
)


def _grid(*parameters: Parameter) -> Space:
    return Space(parameters)


def _optunas(parameter: FloatParameter, index: int) -> float:
    """The value that plain Optuna's samplers give for a step: computed in floats, not in decimal."""
    assert parameter.step is not None
    distribution = FloatDistribution(parameter.low, parameter.high, step=parameter.step)
    transform = _SearchSpaceTransform({"x": distribution})
    drawn = transform.untransform(np.array([parameter.low + index * parameter.step]))["x"]
    assert isinstance(drawn, float)
    return drawn


@given(_INTS, _STEPPED, _CHOICES)
@settings(max_examples=60, deadline=None)
def test_at_gives_every_point_once(n: IntParameter, x: FloatParameter, c: CategoricalParameter) -> None:
    space = _grid(n, x, c)
    assert space.size is not None
    assert space.size == n.size * (x.size or 0) * c.size
    assert len({space.at(index).key for index in range(space.size)}) == space.size


def test_the_last_parameter_runs_fastest() -> None:
    space = _grid(IntParameter(name="a", low=0, high=1), IntParameter(name="b", low=0, high=1))
    walked = [space.at(index).values for index in range(4)]
    assert [(values["a"], values["b"]) for values in walked] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("low", "high", "step", "values"),
    [
        (0.0, 1.0, 0.2, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.1, 0.7, 0.1, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        (0.0, 1.0, 0.3, [0.0, 0.3, 0.6, 0.9]),
        (2.0, 3.0, 5.0, [2.0]),
    ],
)
def test_steps_are_exact_in_decimal_and_the_end_is_included(
    low: float, high: float, step: float, values: list[float]
) -> None:
    x = FloatParameter(name="x", low=low, high=high, step=step)
    assert x.size is not None
    assert [x.at(index) for index in range(x.size)] == values


@_COARSE_END
@settings(deadline=None)
@given(_LOWS, _STEPS, st.integers(1, 200), st.data())
def test_a_step_of_plain_optuna_is_the_same_point(
    low: float, step: float, count: int, data: st.DataObject
) -> None:
    x = FloatParameter(name="x", low=low, high=low + count * step, step=step)
    index = data.draw(st.integers(0, (x.size or 1) - 1))
    space = _grid(x)
    assert space.point({"x": _optunas(x, index)}).key == space.at(index).key


@_COARSE_END
@settings(deadline=None)
@given(_LOWS, _STEPS, st.floats(0, 100, allow_nan=False))
def test_a_stepped_float_has_as_many_values_as_optuna_gives_it(low: float, step: float, width: float) -> None:
    x = FloatParameter(name="x", low=low, high=low + width, step=step)
    theirs = FloatDistribution(low, low + width, step=step)
    assert x.size is not None
    assert x.at(x.size - 1) == pytest.approx(theirs.high)


def test_every_value_that_optunas_samplers_draw_is_a_point() -> None:
    x = FloatParameter(name="x", low=0.1, high=2.3, step=0.1)
    distributions: dict[str, BaseDistribution] = {"x": FloatDistribution(0.1, 2.3, step=0.1)}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    keys = {_grid(x).point(study.ask(distributions).params).key for _ in range(300)}
    assert len(keys) == x.size


def test_optunas_rounding_and_ours_are_one_point() -> None:
    space = _grid(FloatParameter(name="x", low=0.0, high=1.0, step=0.2))
    assert space.point({"x": 0.6000000000000001}) == space.point({"x": 0.6})


def test_two_floats_that_differ_in_one_bit_are_two_points_but_the_zeros_are_one() -> None:
    space = _grid(FloatParameter(name="x", low=-1.0, high=1.0))
    assert space.point({"x": 0.1 + 0.2}).key != space.point({"x": 0.3}).key
    assert space.point({"x": 0.0}).key == space.point({"x": -0.0}).key


def test_the_order_of_the_parameters_does_not_change_a_key() -> None:
    n, c = IntParameter(name="n", low=0, high=9), CategoricalParameter(name="c", choices=("a", "b"))
    values: dict[str, Value] = {"n": 3, "c": "b"}
    assert _grid(n, c).point(values).key == _grid(c, n).point(values).key


def test_keys_stay_what_they_are_in_databases() -> None:
    n, x = IntParameter(name="n", low=0, high=9), FloatParameter(name="x", low=0.0, high=1.0, step=0.2)
    rate, c = (
        FloatParameter(name="rate", low=0.0, high=1.0),
        CategoricalParameter(name="c", choices=("a", "b")),
    )
    point = _grid(n, x, rate, c).point({"n": 3, "x": 0.6, "rate": 0.25, "c": "b"})
    assert point.key == "a543adc3b6be759c2bf4f6e9571274c5"
    assert _grid(n, x, c).at(40).key == "ca0c48170afd9d1991ba6bfc1eaff754"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "no value for n, x, c"),
        ({"n": 1, "x": 0.0, "c": "a", "z": 1}, "no parameter z"),
        ({"n": 10, "x": 0.0, "c": "a"}, "n: 10 is not an integer from 0 to 8"),
        ({"n": 3, "x": 0.0, "c": "a"}, "n: 3 is not 0 plus a multiple of 2"),
        ({"n": 2.5, "x": 0.0, "c": "a"}, "n: 2.5 is not an integer"),
        ({"n": float("inf"), "x": 0.0, "c": "a"}, "n: "),
        ({"n": 2, "x": 0.25, "c": "a"}, "x: 0.25 is not 0.0 plus a multiple of 0.1"),
        ({"n": 2, "x": 1.1, "c": "a"}, "x: 1.1 is not"),
        ({"n": 2, "x": float("nan"), "c": "a"}, "x: nan is not"),
        ({"n": 2, "x": 0.0, "c": "q"}, "c: 'q' is none of"),
        ({"n": 2, "x": 0.0, "c": 1}, "c: 1 is none of"),
    ],
)
def test_what_does_not_fit_the_space_is_refused_by_name(values: dict[str, Value], told: str) -> None:
    space = _grid(
        IntParameter(name="n", low=0, high=8, step=2),
        FloatParameter(name="x", low=0.0, high=1.0, step=0.1),
        CategoricalParameter(name="c", choices=("a", True)),
    )
    with pytest.raises(ValueError, match=f"^{told}"):
        space.point(values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"kind": "a"}, "no value for n"),
        ({"kind": "b", "n": 1}, 'n has a value, but exists only with kind = "a"'),
        ({"n": 1}, "no value for kind"),
        ({"kind": "a", "n": 3}, 'the combination kind = "a" and n at least 3 is forbidden'),
    ],
)
def test_a_point_has_the_parameters_that_exist_and_is_allowed(values: dict[str, Value], told: str) -> None:
    n, kind = IntParameter(name="n", low=0, high=3), CategoricalParameter(name="kind", choices=("a", "b"))
    is_a = OneOf(values=("a",))
    space = Space((n, kind), {"n": {"kind": is_a}}, ({"kind": is_a, "n": Between(low=3)},))
    with pytest.raises(ValueError, match=f"^{told}"):
        space.point(values)
    assert space.point({"kind": "b"}).values == {"kind": "b"}


@settings(deadline=None)
@given(_INTS, _STEPPED, _CHOICES, st.integers())
def test_a_uniform_draw_is_a_point_of_the_space(
    n: IntParameter, x: FloatParameter, c: CategoricalParameter, seed: int
) -> None:
    space = _grid(n, x, c, FloatParameter(name="y", low=1e-5, high=0.1, log=True))
    drawn = space.uniform(random.Random(seed))
    assert space.point(drawn.values) == drawn


def test_a_space_is_finite_when_all_its_parameters_are() -> None:
    n, x = IntParameter(name="n", low=0, high=9), FloatParameter(name="x", low=0.0, high=1.0)
    assert _grid(n).size == 10
    assert _grid(n, x).size is None
    assert _grid(FloatParameter(name="x", low=1.0, high=1.0)).size == 1
    assert _grid(*(IntParameter(name=f"n{i}", low=0, high=2**32) for i in range(2))).size is None
    with pytest.raises(ValueError, match="x is continuous"):
        _grid(n, x).at(0)
