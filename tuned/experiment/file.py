"""The tables of an experiment file as TOML has them, and their JSON Schema for editors.

The only place where the file's keys and their defaults stand. What the values mean together is checked in
``experiment_checks``; what runs is ``experiment.Experiment``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tuned.config.fields import AbsolutePath, Cards, Count, Name, Size, Span
from tuned.config.toml import Problems, Table, alternatives, describe, dotted, instead_of, refuse
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from tuned.experiment import samplers

T = TypeVar("T", bound=Table)


PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


#: Optuna's tables hold every parameter as a float; beyond this an integer would not come back.
_LARGEST_EXACT = 2**53


def _fits_float(value: int) -> int:
    if abs(value) > _LARGEST_EXACT:
        refuse("an integer from -2**53 to 2**53 (the database holds floats)")
    return value


def _scalar(value: object) -> int | float | str | bool:
    if not isinstance(value, int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        refuse("a string, a finite number, true or false")
    return value


def _distinct(choices: list[Any]) -> list[Any]:
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


def _program(command: list[str]) -> list[str]:
    return (
        command if command and command[0] else refuse('a program and its arguments, such as ["./train.sh"]')
    )


def _variable(name: str) -> str:
    if not _VARIABLE_NAME.fullmatch(name):
        refuse("a name of letters, digits and '_', not beginning with a digit")
    return refuse("a name that does not begin with TUNED_") if name.startswith("TUNED_") else name


Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]


Bound = Annotated[int, AfterValidator(_fits_float)]


Finite = Annotated[float, Field(allow_inf_nan=False)]


Direction = Literal["minimize", "maximize"]


class MetricTable(Table):
    """How the value is found in the output of a program that cannot be changed."""

    pattern: str = Field(
        title="a regular expression",
        description="RE2 regular expression, searched in each line of the output, with a group `value` and "
        "maybe a group `step`; e.g. 'accuracy=(?P<value>[0-9.]+)'. JSON lines are then not looked for.",
    )


class ObjectiveTable(Table):
    """What is run to evaluate one point: a command, or a Python function."""

    command: Annotated[list[str], AfterValidator(_program)] | None = Field(
        default=None,
        description="The program and its arguments; no shell. `{name}` becomes the parameter's value, "
        "`{{` and `}}` are braces.",
    )
    python: Annotated[str, AfterValidator(_importable)] | None = Field(
        default=None, description='Instead of `command`: an Optuna objective, as "module:function".'
    )
    path: AbsolutePath | None = Field(
        default=None,
        description="The directory from which the module of `python` is imported. Each host has its own.",
    )
    fork: bool = Field(
        default=True,
        description="Whether the module of `python` is imported once on a host, and each trial forked from "
        "the process that did; otherwise each trial imports it anew. Each host has its own.",
    )
    workdir: AbsolutePath | None = Field(
        default=None,
        description="Where the program runs. Default: a private directory per trial. Each host has its own.",
    )
    timeout: Span | None = Field(
        default=None,
        description='How long one evaluation may take, as "2h" or "1h 30min"; a number is seconds.',
    )
    env: dict[Annotated[str, AfterValidator(_variable)], str] = Field(
        default_factory=dict, description="Environment variables for the program. Each host has its own."
    )
    metric: MetricTable | None = None


class IntTable(Table):
    """An integer from low to high, both included where a step reaches them."""

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


class CategoricalTable(Table):
    """One of some choices."""

    type: Literal["categorical"] = Field(description="The kind of parameter.")
    choices: Annotated[list[Scalar], Field(min_length=1), AfterValidator(_distinct)] = Field(
        title="an array of strings, numbers or booleans", description="The values."
    )

    def parameter(self, name: str) -> Parameter:
        return CategoricalParameter(name=name, choices=tuple(self.choices))


ParameterTable = IntTable | FloatTable | CategoricalTable


PARAMETER_TABLES: Mapping[str, type[ParameterTable]] = {
    "int": IntTable,
    "float": FloatTable,
    "categorical": CategoricalTable,
}


class SamplerTable(Table):
    """What draws the points; further keys are the sampler's keywords."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(default=samplers.DEFAULT, description="The sampler.")
    seed: Annotated[int, Field(ge=0, le=samplers.LARGEST_SEED)] | None = Field(
        default=None,
        description="Makes the draws repeatable, for each host and each start of its own. Default: random.",
    )

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class BudgetTable(Table):
    """When enough is enough, over the whole fleet."""

    trials: Count | None = Field(
        default=None,
        description="So many trials: evaluated, reused, skipped and failed ones count, aborted and lost "
        "ones do not.",
    )
    evaluations: Count | None = Field(
        default=None, description="So many processes that ended by themselves, each retry counted."
    )
    time: Span | None = Field(
        default=None,
        description='Nothing starts later than this after the first claim, as "8h"; a number is seconds.',
    )


class DedupTable(Table):
    """What happens with a drawn point that was evaluated already, or is being evaluated."""

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


class RetryTable(Table):
    """What happens with an evaluation that crashed."""

    attempts: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Further tries, with the same parameters in the same trial."
    )


class ResourcesTable(Table):
    """What each trial may use. Each host has its own."""

    memory: Size | None = Field(
        default=None, description='At most so much memory: bytes, or as "4G", "512M". Default: no limit.'
    )
    cpus: Annotated[float, Field(ge=0.01, le=100_000)] | None = Field(
        default=None, description="At most so many CPUs' time, also a part of one. Default: no limit."
    )
    pids: Annotated[int, Field(ge=1, le=2**22)] | None = Field(
        default=None, description="At most so many processes and threads at once. Default: no limit."
    )
    gpus: Cards | None = Field(
        default=None,
        description="So many GPUs for itself, named in CUDA_VISIBLE_DEVICES; 0.5: two trials share one. "
        "Default: none, and the environment is left as it is.",
    )


class HeadTable(Table):
    """The keys above the first table."""

    name: Name | None = Field(default=None, description="The study. Default: the file's name without .toml.")
    direction: Direction | None = Field(
        default=None, description='The one objective\'s direction. Default: "minimize".'
    )
    directions: Annotated[list[Direction], Field(min_length=1)] | None = Field(
        default=None, description="The directions of several objectives, instead of `direction`."
    )
    parallel: Count | None = Field(
        default=None, description="At most so many evaluations at once on this host. Default: all slots."
    )


class FileTable(HeadTable):
    """An experiment of tuned: a hyperparameter search."""

    objective: ObjectiveTable = Field(title="a table [objective] with a command")
    space: dict[str, Annotated[ParameterTable, Field(discriminator="type")]] = Field(
        title="a table [space.NAME] for each parameter", description="The parameters, by name."
    )
    sampler: SamplerTable = Field(default_factory=SamplerTable)
    budget: BudgetTable = Field(default_factory=BudgetTable)
    dedup: DedupTable = Field(default_factory=DedupTable)
    retry: RetryTable = Field(default_factory=RetryTable)
    resources: ResourcesTable = Field(default_factory=ResourcesTable)
    points: list[dict[str, Scalar]] = Field(
        default_factory=list, description="Points that are evaluated first: a value for every parameter."
    )


class Tables:
    """The tables of one document. One that is wrong is None, with its problems added."""

    def __init__(self, document: Mapping[str, Any], problems: Problems) -> None:
        self._document = document
        self._problems = problems
        for key in document:
            if key not in FileTable.model_fields:
                problems.add(dotted(key), "an unknown key", instead_of(key, FileTable.model_fields))
        known = {key: value for key, value in document.items() if key in HeadTable.model_fields}
        self.head = problems.table(HeadTable, known)
        self.objective = self._section(ObjectiveTable, "objective", is_required=True)
        self.space = self._space()
        self.sampler = self._section(SamplerTable, "sampler")
        self.budget = self._section(BudgetTable, "budget")
        self.dedup = self._section(DedupTable, "dedup")
        self.retry = self._section(RetryTable, "retry")
        self.resources = self._section(ResourcesTable, "resources")
        self.points = self._points()

    @property
    def arguments(self) -> Iterator[tuple[int, str]]:
        """The command's arguments as they are written, even if the objective has other problems."""
        objective = self._document.get("objective")
        command = objective.get("command") if isinstance(objective, dict) else None
        for index, argument in enumerate(command if isinstance(command, list) else ()):
            if isinstance(argument, str):
                yield index, argument

    def _section(self, model: type[T], key: str, *, is_required: bool = False) -> T | None:
        if is_required and key not in self._document:
            self._missing(key)
            return None
        return self._problems.table(model, self._document.get(key, {}), key)

    def _missing(self, key: str) -> None:
        self._problems.add(key, "nothing", FileTable.model_fields[key].title or "a table")

    def _space(self) -> dict[str, ParameterTable | None]:
        raw = self._document.get("space", {})
        if not isinstance(raw, dict):
            self._problems.add("space", describe(raw), "a table")
        elif not raw:
            self._missing("space")
        else:
            return {name: self._parameter(name, dotted("space", name), inner) for name, inner in raw.items()}
        return {}

    def _parameter(self, name: str, key: str, raw: object) -> ParameterTable | None:
        if not PARAMETER_NAME.fullmatch(name):
            expected = "a name of up to 64 letters, digits and '_', not beginning with a digit"
            self._problems.add(key, f"the name {describe(name)}", expected)
        if not isinstance(raw, dict):
            self._problems.add(key, describe(raw), "a table with a type")
            return None
        kind = raw.get("type")
        if not isinstance(kind, str) or kind not in PARAMETER_TABLES:
            known = alternatives(f'"{kind}"' for kind in PARAMETER_TABLES)
            self._problems.add(f"{key}.type", describe(kind), known)
            return None
        return self._problems.table(PARAMETER_TABLES[kind], raw, key)

    def _points(self) -> list[dict[str, Any]] | None:
        """Checked for their shape only: what their values must be is for the space to say."""
        raw = self._document.get("points", [])
        if isinstance(raw, list) and all(isinstance(point, dict) for point in raw):
            return raw
        self._problems.add("points", describe(raw), "an array of tables, written [[points]]")
        return None
