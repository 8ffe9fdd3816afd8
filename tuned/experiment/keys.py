"""The types of keys that several tables of an experiment file share.

It owns how a TOML value becomes one that nobody can change. It must never know a table.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from tuned.config.toml import refuse

T = TypeVar("T")

#: Optuna's tables hold every parameter as a float; beyond this an integer would not come back.
_LARGEST_EXACT = 2**53


def _fits_float(value: int) -> int:
    if abs(value) > _LARGEST_EXACT:
        refuse("an integer from -2**53 to 2**53 (the database holds floats)")
    return value


def is_scalar(value: object) -> bool:
    return isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value))


def _scalar(value: object) -> object:
    return value if is_scalar(value) else refuse("a string, a finite number, true or false")


def _filled(array: tuple[T, ...]) -> tuple[T, ...]:
    return array or refuse("an array that is not empty", "an empty array")


SCALAR = {"type": ["string", "number", "boolean"]}

Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(SCALAR)]

Bound = Annotated[int, AfterValidator(_fits_float)]

Finite = Annotated[float, Field(allow_inf_nan=False)]

#: TOML's arrays, as values that nobody can change.
Array = Annotated[tuple[T, ...], Field(strict=False)]

#: Not ``min_length``, with which pydantic also calls an array of wrong values too short.
FilledArray = Annotated[Array[T], AfterValidator(_filled), Field(json_schema_extra={"minItems": 1})]
