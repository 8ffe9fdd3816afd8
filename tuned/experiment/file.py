"""The tables of an experiment file: one frozen model each, which is also the value that the other wings read.

It owns the file's keys: the name, type, bounds, default and description of each stand here and nowhere else.
It must never check two tables against each other (``checks`` does) or read a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
)

from tuned.config.fields import (
    LARGEST_STORED,
    Count,
    Name,
    Span,
)
from tuned.config.toml import Table, refuse
from tuned.experiment import pruners, samplers
from tuned.experiment.budget import Budget
from tuned.experiment.conditions import TERMS, Terms
from tuned.experiment.keys import SCALAR, Array, FilledArray
from tuned.experiment.parameters import AnyParameter, ParameterName
from tuned.experiment.replicates import Replicates
from tuned.experiment.resources import Resources
from tuned.experiment.scope import Scope
from tuned.experiment.tables.code import PLACE, Code
from tuned.experiment.tables.fleet import Participation
from tuned.experiment.tables.notify import Notify

T = TypeVar("T")

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_SPACE = "a table [space.NAME] for each parameter"


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


def _in_code(value: str) -> str:
    if value.startswith(("/", f"{PLACE}/")) or value == PLACE:
        return value
    return refuse('an absolute path, such as "/srv/minima", or one that begins with {code}')


#: An absolute path, or one below the code of the experiment.
_Place = Annotated[str, AfterValidator(_in_code), Field(title="an absolute path")]


def _variable(name: str) -> str:
    if not _VARIABLE_NAME.fullmatch(name):
        refuse("a name of letters, digits and '_', not beginning with a digit")
    return refuse("a name that does not begin with TUNED_") if name.startswith("TUNED_") else name


def _some(space: Mapping[str, Any]) -> Mapping[str, Any]:
    return space or refuse(_SPACE, "nothing")


def _tables(key: str) -> BeforeValidator:
    """Checks their shape only: the space says what their values must be."""

    def checked(raw: object) -> tuple[Any, ...]:
        if isinstance(raw, list | tuple) and all(isinstance(each, dict) for each in raw):
            return tuple(raw)
        return refuse(f"an array of tables, written [[{key}]]")

    return BeforeValidator(checked)


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
    path: Annotated[_Place | None, Scope.HOST] = Field(
        default=None,
        description="The directory from which the module of `python` is imported. Default: `workdir`.",
    )
    interpreter: Annotated[_Place | None, Scope.HOST] = Field(
        default=None,
        description="The Python in which `python` runs, 3.9 or newer, such as that of a virtual environment. "
        "Nothing of tuned needs to be installed there. Default: the daemon's own.",
    )
    fork: Annotated[bool, Scope.HOST] = Field(
        default=True,
        description="Whether the module of `python` is imported once on a host, and each trial forked from "
        "the process that did; otherwise each trial imports it anew.",
    )
    workdir: Annotated[_Place | None, Scope.HOST] = Field(
        default=None,
        description="The directory in which the program runs. Default: `{code}`, or without `[code]` a "
        "private directory per trial.",
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
        Mapping[ParameterName, AnyParameter],
        AfterValidator(_some),
        Scope.SEARCH,
    ] = Field(title=_SPACE, description="The parameters, by name.")
    sampler: Annotated[samplers.AnySampler, Scope.SEARCH] = Field(default_factory=samplers.Tpe)
    pruner: Annotated[pruners.AnyPruner | None, Scope.FLEET] = None
    budget: Annotated[Budget, Scope.FLEET] = Field(default_factory=Budget)
    dedup: Annotated[Dedup, Scope.SEARCH] = Field(default_factory=Dedup)
    retry: Annotated[Retry, Scope.FLEET] = Field(default_factory=Retry)
    replicates: Annotated[Replicates, Scope.SEARCH] = Field(default_factory=Replicates)
    resources: Annotated[Resources, Scope.HOST] = Field(default_factory=Resources)
    code: Annotated[Code | None, Scope.FLEET] = None
    fleet: Annotated[Participation, Scope.FLEET] = Field(default_factory=Participation)
    notify: Annotated[Notify | None, Scope.FLEET] = None
    points: Annotated[
        tuple[Mapping[str, Any], ...],
        _tables("points"),
        WithJsonSchema({"type": "array", "items": {"type": "object", "additionalProperties": SCALAR}}),
        Scope.SEARCH,
    ] = Field(
        default=(), description="Points that are evaluated first: a value for every parameter that exists."
    )
    forbid: Annotated[
        Array[Terms],
        _tables("forbid"),
        WithJsonSchema({"type": "array", "items": TERMS}),
        Scope.SEARCH,
    ] = Field(
        default=(),
        description="Combinations that are never evaluated: each names parameters, with values as in `when`.",
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _keep(cls, value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Notes each key that is right in the context, so that it can be checked though another is wrong."""
        kept = validate(value)
        if isinstance(info.context, dict):
            info.context[info.field_name] = kept
        return kept
