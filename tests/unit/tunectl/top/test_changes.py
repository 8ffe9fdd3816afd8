"""Each change asks first, and says what it concerns."""

from __future__ import annotations

import pytest

from tuned.errors import Conflict
from tuned.tunectl.top.changes import KEYS, change_of, one_line
from tuned.tunectl.top.paper import Target


@pytest.mark.parametrize("key", sorted(KEYS))
def test_each_question_names_what_will_change(key: str) -> None:
    change = change_of(key, Target("minima", 7))
    assert change is not None
    assert ("minima" if key != "d" else "this host") in change.question


def test_only_a_drain_needs_no_experiment() -> None:
    assert {key for key in KEYS if change_of(key, None)} == {"d"}


def test_an_error_of_several_lines_is_one_line_without_control_characters() -> None:
    assert one_line(Conflict("one:\n  two\x1b[2J")) == "one:; two\\x1b[2J"
