"""Kinds of values in the experiment file and the configuration, and the words for a wrong one.

It must never know a key.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from tuned.config.spans import parse_span
from tuned.config.toml import refuse
from tuned.domain.names import NAME, NAME_EXPECTED
from tuned.domain.resources import parse_gpus, parse_size


def _name(value: str) -> str:
    return value if NAME.fullmatch(value) else refuse(NAME_EXPECTED)


def _span_or_zero(value: object) -> float:
    try:
        return parse_span(value)
    except ValueError as error:
        refuse(str(error))


def _span(value: object) -> float:
    return _span_or_zero(value) or refuse("a time span of more than 0")


def _size(value: object) -> int:
    try:
        return parse_size(value)
    except ValueError as error:
        refuse(str(error))


def _cards(value: float) -> float:
    try:
        parse_gpus(value)
    except ValueError as error:
        refuse(str(error))
    return value


def _absolute(value: str) -> str:
    return value if value.startswith("/") else refuse('an absolute path, such as "/srv/minima"')


_SPAN_SCHEMA = WithJsonSchema(
    {"title": "a time span", "anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}]}
)

Name = Annotated[
    str, AfterValidator(_name), Field(title=NAME_EXPECTED, json_schema_extra={"pattern": f"^{NAME.pattern}$"})
]

#: A span in seconds, more than 0.
Span = Annotated[float, BeforeValidator(_span), _SPAN_SCHEMA]

SpanOrZero = Annotated[float, BeforeValidator(_span_or_zero), _SPAN_SCHEMA]

AbsolutePath = Annotated[str, AfterValidator(_absolute), Field(title="an absolute path")]

Count = Annotated[int, Field(ge=1)]

#: The largest number in a column of 32 bits, in which the database counts.
LARGEST_STORED = 2**31 - 1

#: A count that the database keeps.
StoredCount = Annotated[int, Field(ge=1, le=LARGEST_STORED)]

#: In bytes.
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"title": "a size", "anyOf": [{"type": "string"}, {"type": "integer"}]}),
]

#: So many GPUs, or a part of one.
Cards = Annotated[
    float, Field(allow_inf_nan=False, json_schema_extra={"exclusiveMinimum": 0}), AfterValidator(_cards)
]
