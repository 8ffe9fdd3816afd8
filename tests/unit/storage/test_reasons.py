"""A person reads one printable line about an error."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import ProgrammingError

from tuned.errors import NotFound
from tuned.storage.connection.faults import reason_of

_OF_DRIVER: Any = TypeError("no such table\nLINE 1: SELECT")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OverflowError("too large\nat line 3"), "OverflowError: too large"),
        (ProgrammingError("SELECT 1", {}, _OF_DRIVER), "TypeError: no such table"),
        (NotFound("cannot find it"), "cannot find it"),
        (ValueError("\x1b[2J"), "ValueError: \\x1b[2J"),
        (ValueError(), "ValueError: "),
    ],
)
def test_a_reason_is_the_first_line_with_the_type_of_what_is_not_ours(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_a_long_reason_is_cut() -> None:
    assert len(reason_of(ValueError("x" * 10_000))) == 300
