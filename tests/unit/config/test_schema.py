"""A value's type in words, and JSON Schema without null."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter

from tuned.config.fields import AbsolutePath, Count, Name, Size, Span
from tuned.config.schema import TomlSchema, words


def _schema(annotation: Any) -> dict[str, Any]:
    return TypeAdapter(annotation).json_schema(schema_generator=TomlSchema)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Count, "an integer of at least 1"),
        (Count | None, "an integer of at least 1"),
        (Annotated[float, Field(ge=0.0, le=1.0)], "a number from 0.0 to 1.0"),
        (Annotated[float, Field(gt=0)], "a number above 0"),
        (bool | None, "true or false"),
        (Literal["a", "b"], '"a" or "b"'),
        (Literal["a"], '"a"'),
        (Span, "a time span"),
        (Size | None, "a size"),
        (AbsolutePath, "an absolute path"),
        (Name, "1 to 100 letters, digits, '.', '_' or '-', the first one a letter or digit"),
    ],
)
def test_a_type_and_its_bounds_are_words(annotation: Any, text: str) -> None:
    schema = _schema(annotation)
    assert words(schema) == text
    assert "null" not in str(schema)
