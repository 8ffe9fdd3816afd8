"""The tables of the search space: one frozen model for each kind of parameter.

It owns the keys of ``[space.NAME]`` and the ranges that are right. It must never compare two parameters
(``structure`` does).
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from tuned.config.locations import Choice
from tuned.config.toml import Table, describe, refuse, refuse_keys
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from tuned.experiment.conditions import Terms
from tuned.experiment.keys import Bound, FilledArray, Finite, Scalar

PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

#: A float of this many steps' worth of rounding error can no longer be told from its neighbours.
_FINEST_STEP = 1e7


def _distinct(choices: tuple[Any, ...]) -> tuple[Any, ...]:
    # As Python and Optuna compare them: 1, 1.0 and true are equal.
    seen: dict[Any, Any] = {}
    for choice in choices:
        if choice in seen:
            refuse("choices that differ (1, 1.0 and true are equal)", f"{describe(choice)} twice")
        seen[choice] = choice
    return choices


def _parameter_name(name: str) -> str:
    if not PARAMETER_NAME.fullmatch(name):
        expected = "a name of up to 64 letters, digits and '_', not beginning with a digit"
        refuse(expected, f"the name {describe(name)}")
    return name


_When = Annotated[
    Terms | None,
    Field(
        title="a table of parameters, each with a value, an array of values, or a range of min and max",
        description="The parameter exists only if all of these have one of these values. "
        "Default: it always exists.",
    ),
]


class IntTable(Table):
    """An integer from low to high, both included if a step reaches them."""

    type: Literal["int"] = Field(description="The kind of parameter.")
    low: Bound = Field(title="an integer", description="The smallest value.")
    high: Bound = Field(title="an integer", description="The largest value.")
    step: Annotated[Bound, Field(ge=1)] = Field(default=1, description="The distance of two values.")
    log: bool = Field(
        default=False,
        description="Whether small values are drawn as often as large ones: by their logarithm.",
    )
    when: _When = None

    def parameter(self, name: str) -> Parameter:
        return IntParameter(name=name, low=self.low, high=self.high, step=self.step, log=self.log)

    @model_validator(mode="after")
    def _is_range(self) -> Self:
        _check_range(self)
        return self


class FloatTable(Table):
    """A number from low to high: continuous, or low plus multiples of step."""

    type: Literal["float"] = Field(description="The kind of parameter.")
    low: Finite = Field(title="a number", description="The smallest value.")
    high: Finite = Field(title="a number", description="The largest value.")
    step: Annotated[Finite, Field(gt=0)] | None = Field(
        default=None, description="The distance of two values, exact in decimal. Default: continuous."
    )
    log: bool = Field(
        default=False,
        description="Whether small values are drawn as often as large ones: by their logarithm.",
    )
    when: _When = None

    def parameter(self, name: str) -> Parameter:
        return FloatParameter(name=name, low=self.low, high=self.high, step=self.step, log=self.log)

    @model_validator(mode="after")
    def _is_range(self) -> Self:
        _check_range(self)
        return self


class CategoricalTable(Table):
    """One of some choices."""

    type: Literal["categorical"] = Field(description="The kind of parameter.")
    choices: Annotated[FilledArray[Scalar], AfterValidator(_distinct)] = Field(
        title="an array of strings, numbers or booleans", description="The values."
    )
    when: _When = None

    def parameter(self, name: str) -> Parameter:
        return CategoricalParameter(name=name, choices=self.choices)


def _check_range(table: IntTable | FloatTable) -> None:
    problems = {}
    if table.low > table.high:
        problems["low"] = f"at most high ({describe(table.high)})"
    elif not math.isfinite(table.high - table.low):
        problems["high"] = "a range that a float can hold"
    if table.log and table.low <= 0:
        problems["low"] = "more than 0, because log = true"
    if table.log and table.step not in (None, 1 if isinstance(table, IntTable) else None):
        problems["step"] = "no step, because log = true"
    elif isinstance(table, FloatTable) and table.step is not None:
        finest = math.ulp(max(abs(table.low), abs(table.high))) * _FINEST_STEP
        if table.step < finest:
            problems["step"] = f"at least {finest:.1g}, for floats of this size"
    if problems:
        refuse_keys(table, problems)


AnyParameter = Annotated[
    Annotated[IntTable, Tag("int")]
    | Annotated[FloatTable, Tag("float")]
    | Annotated[CategoricalTable, Tag("categorical")],
    Discriminator(Choice(key="type").of),
]

ParameterName = Annotated[str, AfterValidator(_parameter_name)]
