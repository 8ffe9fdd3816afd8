"""The points of spaces with structure: counted and numbered as brute force finds them."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.forests import by_brute_force, forests
from tuned.domain.conditions import Between, OneOf
from tuned.domain.forest import TooIntricate
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Space
from tuned.domain.walk import Walk

_BITS = [IntParameter(name=f"b{index}", low=0, high=1) for index in range(60)]


@settings(deadline=None, max_examples=150)
@given(forests())
def test_every_point_is_reached_exactly_once_by_its_index(space: Space) -> None:
    assert space.size is not None
    points = [space.at(index) for index in range(space.size)]
    assert len({point.key for point in points}) == space.size
    expected = [frozenset(values.items()) for values in by_brute_force(space)]
    assert Counter(frozenset(point.values.items()) for point in points) == Counter(expected)
    assert [space.index(point) for point in points] == list(range(space.size))


@settings(deadline=None, max_examples=100)
@given(forests(), st.integers(0, 2**31))
def test_a_point_by_its_values_is_the_point_by_its_index(space: Space, seed: int) -> None:
    for index in Walk(space.size, seed) if space.size else ():
        point = space.at(index)
        assert space.point(dict(reversed(list(point.values.items())))) == point
    if space.size:
        assert space.part(space.at(0).values) == space.at(0).values


@settings(deadline=None, max_examples=100)
@given(forests(), st.data())
def test_the_points_with_some_values_are_those_that_brute_force_finds(
    space: Space, data: st.DataObject
) -> None:
    values = {p.name: p.at(data.draw(st.integers(0, (p.size or 1) - 1))) for p in space.parameters[:2]}
    if any(values.items() <= each.items() for each in by_brute_force(space)):
        completed = space.completed(values, random.Random(0))
        assert values.items() <= completed.values.items()
        assert space.point(completed.values) == completed
    else:
        with pytest.raises(ValueError, match=r"has a value|forbidden|no point"):
            space.part(values)


@settings(deadline=None, max_examples=100)
@given(forests(), st.integers())
def test_a_uniform_draw_is_a_point(space: Space, seed: int) -> None:
    if space.size:
        drawn = space.uniform(random.Random(seed))
        assert space.at(space.index(drawn)) == drawn


def test_a_uniform_draw_takes_all_points_equally_often() -> None:
    space = Space(
        (CategoricalParameter(name="kind", choices=("a", "b")), IntParameter(name="n", low=1, high=9)),
        {"n": {"kind": OneOf(values=("b",))}},
    )
    generator = random.Random(1)
    drawn = Counter(space.uniform(generator).key for _ in range(5000))
    assert len(drawn) == space.size == 10
    assert min(drawn.values()) > 400


def test_a_parameter_of_a_million_values_is_counted_by_its_few_branches() -> None:
    n = IntParameter(name="n", low=0, high=10**6 - 1)
    m = IntParameter(name="m", low=1, high=10**6)
    ends = Between(low=10, high=10**6 - 11)
    space = Space((m, n), {"m": {"n": ends}}, ({"n": OneOf(values=(500_000,)), "m": Between(low=2)},))
    assert space.size == 20 + (10**6 - 20) * 10**6 - (10**6 - 1)
    for index in (0, 12345, space.size - 1):
        assert space.index(space.at(index)) == index


def test_chains_of_sixty_parameters_that_stand_apart_in_the_file_are_counted() -> None:
    one = OneOf(values=(1,))
    space = Space(tuple(_BITS), {f"b{index + 30}": {f"b{index}": one} for index in range(30)})
    # Each pair has three points; the size is over what is walked, so only the forest says it.
    assert space.size == 3**30
    assert space.index(space.at(3**29)) == 3**29


def test_a_structure_that_would_take_too_long_to_count_is_refused() -> None:
    one = OneOf(values=(1,))
    pairs = random.Random(1).sample([(a, b) for a in range(60) for b in range(a)], 180)
    space = Space(tuple(_BITS), {}, tuple({f"b{a}": one, f"b{b}": one} for a, b in pairs))
    with pytest.raises(TooIntricate, match="over 200000 steps"):
        assert space.size


def test_a_file_of_very_many_conditions_is_refused_before_they_are_looked_at() -> None:
    many = tuple(IntParameter(name=f"p{index}", low=0, high=1) for index in range(4000))
    one = OneOf(values=(1,))
    space = Space(many, {f"p{index}": {"p0": one} for index in range(1, 4000)})
    with pytest.raises(TooIntricate, match="pairs"):
        assert space.size


def test_a_space_with_a_continuous_parameter_is_infinite_only_if_a_point_has_it() -> None:
    kind = CategoricalParameter(name="kind", choices=("a", "b"))
    rate = FloatParameter(name="rate", low=1e-3, high=1.0, log=True)
    condition = {"rate": {"kind": OneOf(values=("b",))}}
    assert Space((kind, rate), condition).size is None
    assert Space((kind, rate), condition, ({"kind": OneOf(values=("b",))},)).size == 1


def test_a_forbidden_range_of_a_continuous_parameter_is_never_drawn() -> None:
    rate = FloatParameter(name="rate", low=0.0, high=1.0)
    kind = CategoricalParameter(name="kind", choices=("a", "b"))
    most = Between(low=0.001)
    space = Space((rate, kind), {}, ({"rate": most, "kind": OneOf(values=("a",))}, {"rate": Between(high=0)}))
    generator = random.Random(1)
    drawn = [space.uniform(generator).values for _ in range(400)]
    assert all(0.0 < values["rate"] < 0.001 for values in drawn if values["kind"] == "a")  # type: ignore[operator]
    assert {values["kind"] for values in drawn} == {"a", "b"}


def test_points_beyond_counting_are_drawn_like_those_of_a_continuous_space() -> None:
    many = tuple(IntParameter(name=f"p{index}", low=0, high=2**40) for index in range(40))
    space = Space(many, {"p1": {"p0": OneOf(values=(1,))}}, ({"p2": Between(high=2**39)},))
    assert space.forest.size is None
    assert space.point(space.uniform(random.Random(1)).values).values["p2"] > 2**39  # type: ignore[operator]
    with pytest.raises(ValueError, match="too many points"):
        space.at(0)


def test_the_points_of_a_parameters_branches_are_counted() -> None:
    n, m = IntParameter(name="n", low=1, high=9), IntParameter(name="m", low=1, high=4)
    space = Space((m, n), {"m": {"n": Between(low=3, high=5)}}, ({"n": OneOf(values=(4,))},))
    assert list(space.forest.branch_sizes("n")) == [(((0, 1), (5, 8)), 6), (((2, 4),), 8)]
    assert space.forest.existence("m") == {True, False}
    assert space.forest.existence("n") == {True}


def test_no_index_is_beyond_the_last_one() -> None:
    space = Space((IntParameter(name="n", low=0, high=4),))
    with pytest.raises(IndexError):
        space.at(5)
