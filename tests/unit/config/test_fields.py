"""Types of values, and the words for a wrong one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tuned.config.fields import AbsolutePath, Cards, Count, Name, Size, Span, SpanOrZero


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (Span, "1h 30min", 5400.0),
        (SpanOrZero, 0, 0.0),
        (Size, "1.5G", 3 * 2**29),
        (Cards, 0.5, 0.5),
        (AbsolutePath, "/srv", "/srv"),
        (Name, "minima", "minima"),
        (Count, 1, 1),
    ],
)
def test_a_value_is_taken_as_it_is_meant(kind: Any, written: object, value: object) -> None:
    assert TypeAdapter(kind).validate_python(written, strict=True) == value


@pytest.mark.parametrize(
    ("kind", "written", "told"),
    [
        (Span, 0, "a time span of more than 0"),
        (SpanOrZero, -1, "a time span such as"),
        (Size, "4GB", "bytes, or a number with K, M, G or T"),
        (Cards, 1.5, "a whole number of GPUs, or a part of one"),
        (Cards, float("nan"), "finite number"),
        (AbsolutePath, "srv", "an absolute path"),
        (Name, ".a", "1 to 100 letters"),
        (Count, 0, "greater than or equal to 1"),
        (Count, True, "valid integer"),
    ],
)
def test_a_wrong_value_is_told_by_what_is_expected(kind: Any, written: object, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TypeAdapter(kind).validate_python(written, strict=True)
