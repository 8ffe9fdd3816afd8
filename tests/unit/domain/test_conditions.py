"""Conditions, as files and people have them."""

from __future__ import annotations

import pytest

from tuned.domain.conditions import Condition, allowed, document, text

TABLE: dict[str, object] = {
    "a": "x",
    "b": ["x", True],
    "c": {"min": 2, "max": 4},
    "d": {"min": 0.5},
    "e": {"max": 3},
}


def condition(**table: object) -> Condition:
    return {name: allowed(raw) for name, raw in table.items()}


def test_a_condition_is_the_same_after_a_document() -> None:
    assert document(condition(**TABLE)) == TABLE
    assert condition(a=["x"]) == condition(a="x")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a", 'a = "x"'),
        ("b", 'b one of "x", true'),
        ("c", "c from 2 to 4"),
        ("d", "d at least 0.5"),
        ("e", "e at most 3"),
    ],
)
def test_a_condition_is_told_in_words(name: str, told: str) -> None:
    assert text(condition(**{name: TABLE[name]})) == told
