"""The walk: a seeded permutation of the numbers of a finite space's points."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuned.domain.walk import Walk


@settings(deadline=None)
@given(st.integers(1, 700), st.integers())
def test_a_walk_is_a_permutation(size: int, seed: int) -> None:
    assert sorted(Walk(size, seed)) == list(range(size))


def test_two_seeds_walk_differently_and_one_seed_alike() -> None:
    assert list(Walk(100, 1)) == list(Walk(100, 1)) != list(Walk(100, 2))


@settings(deadline=None)
@given(st.integers(9, 2**62), st.integers(), st.data())
def test_any_place_of_a_huge_walk_is_computed_at_once(size: int, seed: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=5, unique=True))
    indices = [Walk(size, seed)[place] for place in places]
    assert len(set(indices)) == len(indices)
    assert all(0 <= index < size for index in indices)


@pytest.mark.parametrize("place", [-1, 10])
def test_a_walk_has_no_place_outside_of_the_space(place: int) -> None:
    with pytest.raises(IndexError):
        Walk(10, 0)[place]


def test_a_walk_visits_distant_points_early() -> None:
    places = list(Walk(1000, 7))[:50]
    assert sum(abs(a - b) > 1 for a, b in pairwise(places)) > 40
