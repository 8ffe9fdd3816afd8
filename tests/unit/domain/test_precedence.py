"""The order in which parameters are decided."""

from __future__ import annotations

import pytest

from tuned.domain.precedence import ordered


def test_without_parents_the_order_stays() -> None:
    assert list(ordered(["c", "a", "b"], {}, [])) == ["c", "a", "b"]


def test_parents_come_first_wherever_they_stand() -> None:
    assert list(ordered(["a", "b", "c"], {"a": ["b"], "b": ["c"]}, [])) == ["c", "b", "a"]


def test_those_that_belong_together_follow_each_other() -> None:
    names = ["a1", "b1", "c1", "a2", "b2", "c2"]
    parents = {"a2": ["a1"], "b2": ["b1"]}
    assert list(ordered(names, parents, [["c1", "c2"]])) == ["a1", "a2", "b1", "b2", "c1", "c2"]


def test_a_cycle_is_an_error() -> None:
    with pytest.raises(ValueError, match="cycle"):
        list(ordered(["a", "b", "c"], {"a": ["b"], "b": ["a"]}, []))
