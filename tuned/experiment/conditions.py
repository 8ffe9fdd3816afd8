"""Conditions of an experiment file: ``when`` of a parameter, and the combinations of ``[[forbid]]``.

It owns the shape of a condition. It must never know which parameters and values there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from tuned.config.toml import alternatives, describe, refuse
from tuned.domain.conditions import Allowed, Between, OneOf, allowed
from tuned.experiment.keys import SCALAR, is_scalar

_ENDS = ("min", "max")

_EXPECTED = "a value, an array of values, or a range such as { min = 2, max = 4 }"


def _allowed(raw: object) -> Allowed:
    if isinstance(raw, OneOf | Between):
        return raw
    if isinstance(raw, dict):
        _check_range(raw)
    elif isinstance(raw, list):
        if not raw:
            refuse(_EXPECTED, "an empty array")
        for value in raw:
            if not is_scalar(value):
                refuse("an array of strings, finite numbers, true or false", f"{describe(value)} in an array")
    elif not is_scalar(raw):
        refuse(_EXPECTED)
    return allowed(raw)


def _check_range(raw: Mapping[str, Any]) -> None:
    if unknown := [key for key in raw if key not in _ENDS]:
        refuse("a range of min, max or both", f"a table with {alternatives(map(describe, unknown), 'and')}")
    if not raw:
        refuse("a range of min, max or both", "an empty table")
    for end, value in raw.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            refuse(f"a finite number as {end}", describe(value))
    if len(raw) == len(_ENDS) and raw["min"] > raw["max"]:
        refuse("a min that is at most max", f"a range from {raw['min']} to {raw['max']}")


def _some(condition: Mapping[str, Any]) -> Mapping[str, Any]:
    return condition or refuse("a parameter and its values", "an empty table")


_END = {"type": "number"}

_ALLOWED = {
    "anyOf": [
        SCALAR,
        {"type": "array", "items": SCALAR, "minItems": 1},
        {
            "type": "object",
            "properties": dict.fromkeys(_ENDS, _END),
            "additionalProperties": False,
            "minProperties": 1,
        },
    ]
}

TERMS = {"type": "object", "additionalProperties": _ALLOWED, "minProperties": 1}

#: The allowed values by the names of parameters.
Terms = Annotated[
    Mapping[str, Annotated[Any, BeforeValidator(_allowed)]], AfterValidator(_some), WithJsonSchema(TERMS)
]
