"""One experiment: what a file says, parsed and checked, with all defaults filled in.

An experiment has two halves. Its *definition* is one for the whole fleet and is kept in the database; its
local keys (``parallel``, ``[resources]``, and ``workdir``, ``path``, ``fork`` and ``env`` of the objective)
each host reads from its own file.
Nothing here reads files or knows the database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from tuned.config.fields import NAME, NAME_EXPECTED
from tuned.config.toml import Problems, describe, load_toml, refuse_file
from tuned.domain.resources import Resources, parse_gpus
from tuned.domain.space import Point, Space, Value, document
from tuned.experiment import samplers
from tuned.experiment.checks import check, substitute
from tuned.experiment.file import BudgetTable, ObjectiveTable, ResourcesTable, Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is run to evaluate one point: a command, or a Python function; never both or neither."""

    command: tuple[str, ...] | None
    python: str | None
    path: str | None
    #: Whether a Python function is called in a process that is forked from one that has imported it.
    fork: bool
    workdir: str | None
    #: In seconds.
    timeout: float | None
    env: Mapping[str, str]
    pattern: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """What draws the points."""

    name: str
    options: Mapping[str, samplers.OptionValue]
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """When enough is enough, over the whole fleet."""

    trials: int | None
    evaluations: int | None
    #: In seconds.
    time: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dedup:
    """What happens with a drawn point that is done or held."""

    #: reuse, resample or evaluate.
    on_complete: str
    #: skip, wait, resample or evaluate.
    on_running: str
    patience: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Further tries of a crashed evaluation."""

    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One experiment file."""

    name: str
    #: Each minimize or maximize.
    directions: tuple[str, ...]
    parallel: int | None
    objective: Objective
    space: Space
    sampler: Sampler
    budget: Budget
    dedup: Dedup
    retry: Retry
    resources: Resources
    #: Evaluated first.
    points: tuple[Point, ...]

    def definition(self) -> str:
        """JSON of what must be one in the whole fleet: the file's own keys, without the local ones.

        The order of the parameters is part of it, for the walk goes by it.
        """
        return json.dumps(_document(self), separators=(",", ":"), ensure_ascii=False)

    def adopt(self, definition: str) -> Experiment:
        """What the database says, with this file's local keys. Raises InvalidInput if it cannot be read."""
        theirs = defined(definition, self.name)
        mine = self.objective
        objective = replace(
            theirs.objective, workdir=mine.workdir, path=mine.path, fork=mine.fork, env=mine.env
        )
        return replace(theirs, parallel=self.parallel, resources=self.resources, objective=objective)

    def argv(self, point: Point) -> tuple[str, ...]:
        """The command for a point: ``{name}`` replaced, ``{{`` and ``}}`` as braces."""
        texts = {name: text(value) for name, value in point.values.items()}
        return tuple(substitute(argument, texts) for argument in self.objective.command or ())

    @property
    def worker_arguments(self) -> tuple[str, ...]:
        """What a process that calls a Python function is told of it: its name, place and space (JSON)."""
        objective = self.objective
        assert objective.python is not None
        place = objective.path or objective.workdir or ""
        return objective.python, place, json.dumps(_space(self.space), separators=(",", ":"))


def parse(content: bytes, file: str) -> Experiment:
    """The experiment in a file. Raises InvalidInput with all problems, not the first."""
    return _build(load_toml(content, file), file)


def defined(definition: str, name: str) -> Experiment:
    """The experiment of a definition, without local keys. Raises InvalidInput if it cannot be read."""
    file = f"definition of {name} in the database"
    try:
        document = json.loads(definition)
    except ValueError:
        refuse_file(file, "text that is not JSON", "what tuned wrote")
    if not isinstance(document, dict):
        refuse_file(file, describe(document), "what tuned wrote")
    return _build(document, file)


def text(value: Value) -> str:
    """A parameter's value as programs get it, in arguments and environment: as TOML writes it, unquoted."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _build(document: dict[str, Any], file: str) -> Experiment:
    problems = Problems(file)
    tables = Tables(document, problems)
    space = check(tables, problems)
    name = _study_name(tables, file, problems)
    problems.raise_if_any()
    head, sampler = tables.head, tables.sampler
    # What is None has added its problem.
    assert head is not None
    assert tables.objective is not None
    assert space is not None
    assert sampler is not None
    assert tables.budget is not None
    assert tables.dedup is not None
    assert tables.retry is not None
    assert tables.resources is not None
    assert tables.points is not None
    return Experiment(
        name=name,
        directions=tuple(head.directions or [head.direction or "minimize"]),
        parallel=head.parallel,
        objective=_objective(tables.objective),
        space=space,
        sampler=Sampler(name=sampler.name, options=MappingProxyType(sampler.options), seed=sampler.seed),
        budget=_budget(tables.budget),
        dedup=Dedup(**tables.dedup.model_dump()),
        retry=Retry(**tables.retry.model_dump()),
        resources=_resources(tables.resources),
        points=tuple(map(space.point, tables.points)),
    )


def _study_name(tables: Tables, file: str, problems: Problems) -> str:
    if tables.head is None or tables.head.name:
        return (tables.head and tables.head.name) or ""
    stem = PurePath(file).stem
    if not NAME.fullmatch(stem):
        problems.add("name", f"none, and the file's name {describe(stem)} does not do", NAME_EXPECTED)
    return stem


def _objective(table: ObjectiveTable) -> Objective:
    return Objective(
        command=None if table.command is None else tuple(table.command),
        python=table.python,
        path=table.path,
        fork=table.fork,
        workdir=table.workdir,
        timeout=table.timeout,
        env=MappingProxyType(table.env),
        pattern=table.metric.pattern if table.metric else None,
    )


def _budget(table: BudgetTable) -> Budget:
    return Budget(trials=table.trials, evaluations=table.evaluations, time=table.time)


def _resources(table: ResourcesTable) -> Resources:
    gpus = None if table.gpus is None else parse_gpus(table.gpus)
    return Resources(memory=table.memory, cpus=table.cpus, pids=table.pids, gpus=gpus)


def _document(experiment: Experiment) -> dict[str, Any]:
    """The document of a file that says the same, without the local keys: ``_build`` reads it back."""
    objective, sampler, dedup = experiment.objective, experiment.sampler, experiment.dedup
    budget = experiment.budget
    return {
        "name": experiment.name,
        "directions": list(experiment.directions),
        "objective": _set(
            command=None if objective.command is None else list(objective.command),
            python=objective.python,
            timeout=objective.timeout,
            metric=None if objective.pattern is None else {"pattern": objective.pattern},
        ),
        "space": _space(experiment.space),
        "sampler": _set(name=sampler.name, seed=sampler.seed) | dict(sorted(sampler.options.items())),
        "budget": _set(trials=budget.trials, evaluations=budget.evaluations, time=budget.time),
        "dedup": {
            "on_complete": dedup.on_complete,
            "on_running": dedup.on_running,
            "patience": dedup.patience,
        },
        "retry": {"attempts": experiment.retry.attempts},
        "points": [dict(point.values) for point in experiment.points],
    }


def _space(space: Space) -> dict[str, Any]:
    return {parameter.name: document(parameter) for parameter in space.parameters}


def _set(**values: object) -> dict[str, Any]:
    """Those that are set; the others are left out, as in a file."""
    return {key: value for key, value in values.items() if value is not None}
