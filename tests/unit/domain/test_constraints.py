"""The constraints that a trial may report."""

from __future__ import annotations

import math

import pytest

from tuned.domain.constraints import LONGEST_NAME, attributes, constraint_problem, violation


@pytest.mark.parametrize("name", ["latency", "über", "two words", "x" * LONGEST_NAME])
@pytest.mark.parametrize("value", [-1, 0, 0.5, math.inf, -math.inf])
def test_a_printable_name_and_a_number_are_taken(name: str, value: float) -> None:
    assert constraint_problem(name, value) is None


@pytest.mark.parametrize("name", ["", "a\nb", "x" * (LONGEST_NAME + 1), 3, None])
def test_a_name_that_the_tables_cannot_hold_is_told_shortly(name: object) -> None:
    problem = constraint_problem(name, 1.0)
    assert problem
    assert "expected 1 to 500 printable characters" in problem
    assert len(problem) < 140


@pytest.mark.parametrize("value", [math.nan, "1", None, True, [1.0], 10**400])
def test_anything_else_than_a_number_is_told(value: object) -> None:
    problem = constraint_problem("latency", value)
    assert problem
    assert problem.startswith("constraint 'latency': found ")
    assert len(problem) < 140


def test_optuna_keeps_them_as_system_attributes() -> None:
    assert attributes({"a": 1.0, "b:c": -1.0}) == {"constraints:a": 1.0, "constraints:b:c": -1.0}


def test_a_violation_is_the_sum_of_what_is_above_zero() -> None:
    assert (violation([-5.0, 0.0]), violation([1.0, -5.0, 0.5]), violation([])) == (0, 1.5, 0)
