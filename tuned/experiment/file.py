"""The tables of an experiment file: one frozen model each, which is also the value that the other wings read.

It owns the file's keys: the name, type, bounds, default and description of each stand here and nowhere else.
It must never check two tables against each other (``checks`` does) or read a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from tuned.config.fields import (
    LARGEST_STORED,
    AbsolutePath,
    Cards,
    Count,
    Name,
    Size,
    Span,
    StoredCount,
)
from tuned.config.locations import Choice
from tuned.config.toml import Table, describe, refuse, refuse_keys
from tuned.domain.resources import described, limits, parse_gpus
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from tuned.experiment import samplers
from tuned.experiment.scope import Scope

T = TypeVar("T")

PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Optuna's tables hold every parameter as a float; beyond this an integer would not come back.
_LARGEST_EXACT = 2**53

#: A float of this many steps' worth of rounding error can no longer be told from its neighbours.
_FINEST_STEP = 1e7

_SPACE = "a table [space.NAME] for each parameter"


def _fits_float(value: int) -> int:
    if abs(value) > _LARGEST_EXACT:
        refuse("an integer from -2**53 to 2**53 (the database holds floats)")
    return value


def _scalar(value: object) -> int | float | str | bool:
    if not isinstance(value, int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        refuse("a string, a finite number, true or false")
    return value


def _distinct(choices: tuple[Any, ...]) -> tuple[Any, ...]:
    # As Python and Optuna compare them: 1, 1.0 and true are equal.
    seen: dict[Any, Any] = {}
    for choice in choices:
        if choice in seen:
            refuse("choices that differ (1, 1.0 and true are equal)", f"{describe(choice)} twice")
        seen[choice] = choice
    return choices


def _importable(value: str) -> str:
    module, colon, function = value.partition(":")
    if colon and function.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        return value
    return refuse('"module:function", such as "train:objective"')


def _program(command: tuple[str, ...]) -> tuple[str, ...]:
    if not command or not command[0]:
        refuse(
            'a program and its arguments, such as ["./train.sh"]', "an array" if command else "an empty array"
        )
    return command


def _filled(array: tuple[T, ...]) -> tuple[T, ...]:
    return array or refuse("an array that is not empty", "an empty array")


def _variable(name: str) -> str:
    if not _VARIABLE_NAME.fullmatch(name):
        refuse("a name of letters, digits and '_', not beginning with a digit")
    return refuse("a name that does not begin with TUNED_") if name.startswith("TUNED_") else name


def _parameter_name(name: str) -> str:
    if not PARAMETER_NAME.fullmatch(name):
        expected = "a name of up to 64 letters, digits and '_', not beginning with a digit"
        refuse(expected, f"the name {describe(name)}")
    return name


def _some(space: Mapping[str, Any]) -> Mapping[str, Any]:
    return space or refuse(_SPACE, "nothing")


def _tables(raw: object) -> tuple[Any, ...]:
    """Checked for their shape only: the space says what their values must be."""
    if isinstance(raw, list | tuple) and all(isinstance(point, dict) for point in raw):
        return tuple(raw)
    return refuse("an array of tables, written [[points]]")


_SCALAR = {"type": ["string", "number", "boolean"]}

Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(_SCALAR)]

Bound = Annotated[int, AfterValidator(_fits_float)]

Finite = Annotated[float, Field(allow_inf_nan=False)]

#: TOML's arrays, as values that nobody can change.
Array = Annotated[tuple[T, ...], Field(strict=False)]

#: Not ``min_length``, with which pydantic also calls an array of wrong values too short.
FilledArray = Annotated[Array[T], AfterValidator(_filled), Field(json_schema_extra={"minItems": 1})]

Direction = Literal["minimize", "maximize"]


class Metric(Table):
    """How the value is found in the output of a program that cannot be changed."""

    pattern: str = Field(
        title="a regular expression",
        description="Searched in each line of the output, in RE2's syntax, with a group `value` and maybe a "
        "group `step`; e.g. 'accuracy=(?P<value>[-+.\\w]+)', whose group reads every float. JSON lines are "
        "then not looked for.",
    )


class Objective(Table):
    """A command, or a Python function, that evaluates one point."""

    command: Annotated[Annotated[Array[str], AfterValidator(_program)] | None, Scope.FLEET] = Field(
        default=None,
        description="The program and its arguments; no shell. `{name}` becomes the parameter's value, "
        "`{{` and `}}` are braces.",
    )
    python: Annotated[Annotated[str, AfterValidator(_importable)] | None, Scope.FLEET] = Field(
        default=None, description='Instead of `command`: an Optuna objective, as "module:function".'
    )
    path: Annotated[AbsolutePath | None, Scope.HOST] = Field(
        default=None, description="The directory from which the module of `python` is imported."
    )
    fork: Annotated[bool, Scope.HOST] = Field(
        default=True,
        description="Whether the module of `python` is imported once on a host, and each trial forked from "
        "the process that did; otherwise each trial imports it anew.",
    )
    workdir: Annotated[AbsolutePath | None, Scope.HOST] = Field(
        default=None,
        description="The directory in which the program runs. Default: a private directory per trial.",
    )
    timeout: Annotated[Span | None, Scope.FLEET] = Field(
        default=None,
        description='How long one evaluation may take, as "2h" or "1h 30min"; a number is seconds.',
    )
    env: Annotated[Mapping[Annotated[str, AfterValidator(_variable)], str], Scope.HOST] = Field(
        default={},
        description="Environment variables for the program. Names that begin with `TUNED_` are refused.",
    )
    metric: Annotated[Metric | None, Scope.FLEET] = None

    @property
    def pattern(self) -> str | None:
        return self.metric.pattern if self.metric else None


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


_AnyParameter = Annotated[
    Annotated[IntTable, Tag("int")]
    | Annotated[FloatTable, Tag("float")]
    | Annotated[CategoricalTable, Tag("categorical")],
    Discriminator(Choice(key="type").of),
]


class Budget(Table):
    """The end of the experiment, over the whole fleet."""

    trials: StoredCount | None = Field(
        default=None,
        description="So many trials: evaluated, reused, skipped and failed ones count, aborted and lost "
        "ones and crashes before the first value do not.",
    )
    evaluations: StoredCount | None = Field(
        default=None, description="So many processes that ended by themselves, each retry counted."
    )
    time: Span | None = Field(
        default=None,
        description='Nothing starts later than this after the first claim, as "8h"; a number is seconds.',
    )


class Dedup(Table):
    """The use of a drawn point that was evaluated already, or is being evaluated."""

    on_complete: Literal["reuse", "resample", "evaluate"] = Field(
        default="reuse",
        description="For a point that has a value: take that value, draw again, or evaluate it again.",
    )
    on_running: Literal["skip", "wait", "resample", "evaluate"] = Field(
        default="skip",
        description="For a point that is being evaluated: a FAIL trial at once, wait for it, draw again, or "
        "evaluate it a second time.",
    )
    patience: Count = Field(
        default=3, description="Duplicates in a row before a point that nobody has is drawn."
    )


class Retry(Table):
    """Further tries of an evaluation that crashed."""

    attempts: Annotated[int, Field(ge=0, le=LARGEST_STORED - 1)] = Field(
        default=0, description="Further tries, with the same parameters in the same trial."
    )


class Resources(Table):
    """Limits of each trial."""

    memory: Size | None = Field(
        default=None,
        description='At most so much memory: bytes, or a number with K, M, G or T in powers of 1024, as "4G" '
        'or "1.5G"; from 1M. Swap is not used beside it. Default: no limit.',
    )
    cpus: Annotated[float, Field(ge=0.01, le=100_000)] | None = Field(
        default=None, description="At most so many CPUs' time; 0.5 is half of one. Default: no limit."
    )
    pids: Annotated[int, Field(ge=1, le=2**22)] | None = Field(
        default=None, description="At most so many processes and threads at once. Default: no limit."
    )
    gpus: Cards | None = Field(
        default=None,
        description="A whole number of GPUs for each trial alone, or a part of one: with 0.5 two trials "
        "share a card. They are named in CUDA_VISIBLE_DEVICES. Default: none, and the environment is left "
        "as it is.",
    )

    @property
    def cards(self) -> Fraction | None:
        """The GPUs, exactly: whole cards, or the part of one card. None if a trial gets none of its own."""
        return None if self.gpus is None else parse_gpus(self.gpus)

    @property
    def limits(self) -> Mapping[str, str]:
        """The limits that are set, by the key of the file, as a person would write them."""
        return limits(memory=self.memory, cpus=self.cpus, pids=self.pids)

    def __str__(self) -> str:
        return described(memory=self.memory, cpus=self.cpus, pids=self.pids, gpus=self.gpus)


UNLIMITED = Resources()


class File(Table):
    """An experiment of tuned: a hyperparameter search."""

    #: So that a key that is left out is right as well.
    model_config = ConfigDict(validate_default=True)

    name: Annotated[Name | None, Scope.SEARCH] = Field(
        default=None, description="The study. Default: the file's name without .toml."
    )
    direction: Annotated[Direction, Scope.SEARCH] = Field(
        default="minimize", description="The direction of the one objective."
    )
    directions: Annotated[FilledArray[Direction] | None, Scope.SEARCH] = Field(
        default=None, description="The directions of several objectives, instead of `direction`."
    )
    parallel: Annotated[Count | None, Scope.HOST] = Field(
        default=None, description="At most so many evaluations at once on this host. Default: all slots."
    )
    objective: Objective = Field(title="a table [objective] with a command")
    space: Annotated[
        Mapping[Annotated[str, AfterValidator(_parameter_name)], _AnyParameter],
        AfterValidator(_some),
        Scope.SEARCH,
    ] = Field(title=_SPACE, description="The parameters, by name.")
    sampler: Annotated[samplers.AnySampler, Scope.SEARCH] = Field(default_factory=samplers.Tpe)
    budget: Annotated[Budget, Scope.FLEET] = Field(default_factory=Budget)
    dedup: Annotated[Dedup, Scope.SEARCH] = Field(default_factory=Dedup)
    retry: Annotated[Retry, Scope.FLEET] = Field(default_factory=Retry)
    resources: Annotated[Resources, Scope.HOST] = Field(default_factory=Resources)
    points: Annotated[
        tuple[Mapping[str, Any], ...],
        BeforeValidator(_tables),
        WithJsonSchema({"type": "array", "items": {"type": "object", "additionalProperties": _SCALAR}}),
        Scope.SEARCH,
    ] = Field(default=(), description="Points that are evaluated first: a value for every parameter.")

    @field_validator("*", mode="wrap")
    @classmethod
    def _keep(cls, value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Notes each key that is right in the context, so that it can be checked though another is wrong."""
        kept = validate(value)
        if isinstance(info.context, dict):
            info.context[info.field_name] = kept
        return kept
