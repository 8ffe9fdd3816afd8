"""The user attributes that a trial may give itself."""

from __future__ import annotations

import pytest

from tuned.domain.attributes import LONGEST_ATTRIBUTE_NAME, RESERVED_ATTRIBUTES, attribute_problem


@pytest.mark.parametrize("name", ["a", "über", "two words", "x" * LONGEST_ATTRIBUTE_NAME])
def test_a_printable_name_is_taken(name: str) -> None:
    assert attribute_problem(name) is None


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[2J", "x" * (LONGEST_ATTRIBUTE_NAME + 1), 3, None, ["a"]])
def test_a_name_that_the_tables_cannot_hold_is_told_shortly(name: object) -> None:
    problem = attribute_problem(name)
    assert problem
    assert "expected 1 to 512 printable characters" in problem
    assert len(problem) < 130


@pytest.mark.parametrize("name", sorted(RESERVED_ATTRIBUTES))
def test_the_names_of_our_own_attributes_are_refused(name: str) -> None:
    assert f"found {name}, expected another name" in str(attribute_problem(name))
