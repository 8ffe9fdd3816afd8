"""One experiment: a file's content, parsed and checked, with all defaults filled in.

An experiment has two halves. Its *definition* is one for the whole fleet and is kept in the database; each
host reads its local keys, those of ``Scope.HOST``, from its own file.
Nothing here may read a file or know the database.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from tuned.config.toml import Problems, describe, load_toml, refuse_file
from tuned.domain import conditions
from tuned.domain.names import NAME, NAME_EXPECTED
from tuned.domain.space import Point, Space, Value, document
from tuned.experiment.budget import Budget
from tuned.experiment.checks import Draft, check, placeholders, substitute
from tuned.experiment.file import Dedup, File, Objective, Retry
from tuned.experiment.pruners import Pruner
from tuned.experiment.replicates import Replicates
from tuned.experiment.resources import Resources
from tuned.experiment.samplers import Sampler
from tuned.experiment.scope import Scope
from tuned.experiment.tables.code import PLACE, Code, placed
from tuned.experiment.tables.fleet import Participation
from tuned.experiment.tables.notify import Notify

__all__ = ["Budget", "Dedup", "Experiment", "Objective", "Retry", "Sampler", "defined", "parse", "text"]


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
    pruner: Pruner | None
    budget: Budget
    dedup: Dedup
    retry: Retry
    replicates: Replicates
    resources: Resources
    code: Code | None
    fleet: Participation
    #: None: as each host's settings say.
    notify: Notify | None
    #: Evaluated first.
    points: tuple[Point, ...]
    #: The digest of the snapshot of its code; empty if it has none, or nobody has taken it yet.
    snapshot: str = ""
    #: The directory of the unpacked snapshot on this host; empty if no trial is to run.
    tree: str = ""

    def definition(self) -> str:
        """JSON of the keys that the whole fleet shares: the file's own, without the local ones.

        The order of the parameters is part of it, because the walk goes by it, and so is the order of a
        parameter's choices, because Optuna stores a choice by its place. Without other characters than ASCII,
        because a database may have an encoding that cannot hold them.
        """
        return json.dumps(_document(self), separators=(",", ":"))

    def whole(self) -> str:
        """JSON by which one evaluation goes on in another process: ``defined`` reads it.

        It is the definition with the local keys, without ``[[points]]``, which are not one point's, and
        without ``[notify]``, which may hold secrets.
        """
        document = _document(replace(self, points=(), notify=None))
        # Some keys may stand beside some others only.
        document["objective"] |= self.objective.model_dump(
            include=_local_keys(Objective), exclude_none=True, exclude_defaults=True
        )
        document["resources"] = self.resources.model_dump(exclude_none=True)
        if self.parallel is not None:
            document["parallel"] = self.parallel
        return json.dumps(document, separators=(",", ":"))

    def adopt(self, definition: str) -> Experiment:
        """The definition, with the local keys of this file. Raises InvalidInput if it cannot be read."""
        return defined(definition, self.name).localized(self)

    def local(self) -> str:
        """JSON of the keys of which each host has its own. The values of ``env`` may be secrets."""
        objective = self.objective.model_dump(include=_local_keys(Objective), exclude_none=True)
        resources = self.resources.model_dump(exclude_none=True)
        code = self.code and self.code.model_dump(include=_local_keys(Code), exclude_none=True)
        keys = {"parallel": self.parallel, "objective": objective, "resources": resources, "code": code}
        return json.dumps(keys)

    def localized(self, other: Experiment) -> Experiment:
        """This definition, with the local keys of another file."""
        theirs = {key: getattr(other.objective, key) for key in _local_keys(Objective)}
        objective = self.objective.model_copy(update=theirs)
        code = self.code and self.code.localized(other.code)
        return replace(
            self, parallel=other.parallel, resources=other.resources, objective=objective, code=code
        )

    def with_snapshot(self, digest: str) -> Experiment:
        """With this snapshot of its code, if it has any."""
        return self if self.code is None else replace(self, snapshot=digest)

    def placed(self, tree: str) -> Experiment:
        """As its trials run on this host, with the code in this directory."""
        objective = self.objective
        places = {
            key: placed(value, tree)
            for key in ("path", "interpreter", "workdir")
            if (value := getattr(objective, key)) is not None
        }
        env = {name: placed(value, tree) for name, value in objective.env.items()}
        objective = objective.model_copy(update={"workdir": tree, **places, "env": env})
        return replace(self, objective=objective, tree=tree)

    def argv(self, point: Point) -> tuple[str, ...]:
        """The command for a point: ``{name}`` replaced, ``{{`` and ``}}`` as braces.

        An argument that names a parameter that the point does not have is left out.
        """
        texts = {name: text(value) for name, value in point.values.items()} | self.places
        return tuple(
            substitute(argument, texts)
            for argument in self.objective.command or ()
            if all(name in texts for _, name in placeholders(argument) if name is not None)
        )

    @property
    def places(self) -> dict[str, str]:
        """The names in braces that stand for a directory and not for a parameter."""
        return {PLACE[1:-1]: self.tree} if self.tree else {}

    @property
    def worker_arguments(self) -> tuple[str, ...]:
        """The arguments of a process that calls a Python function: its name, place, space and directions."""
        objective = self.objective
        assert objective.python is not None
        place = objective.path or objective.workdir or ""
        # That process knows no rule of a space: it only tells a condition.
        tables = {parameter.name: document(parameter) for parameter in self.space.parameters}
        for name, condition in self.space.conditions.items():
            tables[name]["when"] = conditions.text(condition)
        return objective.python, place, json.dumps(tables, separators=(",", ":")), json.dumps(self.directions)


def parse(content: bytes, file: str) -> Experiment:
    """The experiment in a file. Raises InvalidInput with all problems, not the first."""
    return _build(load_toml(content, file), file)


def defined(definition: str, name: str) -> Experiment:
    """The experiment of a definition, without local keys. Raises InvalidInput if it cannot be read."""
    file = f"definition of {name} in the database"
    try:
        document = json.loads(definition)
    except (ValueError, RecursionError):
        refuse_file(file, "text that is not JSON", "what tuned wrote")
    if not isinstance(document, dict):
        refuse_file(file, describe(document), "what tuned wrote")
    code = document.get("code")
    # No file says it, so it is no key of the table.
    snapshot = code.pop("snapshot", "") if isinstance(code, dict) else ""
    return _build(document, file, snapshot=snapshot)


def text(value: Value) -> str:
    """A parameter's value as programs get it, in arguments and environment: as TOML writes it, unquoted."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _build(document: dict[str, Any], file: str, *, snapshot: str | None = None) -> Experiment:
    """``snapshot`` is that of a definition; None for a file, which must say where its code is."""
    problems = Problems(file)
    right: dict[str, Any] = {}
    problems.table(File, document, context=right)
    tables = File.model_construct(**right)
    is_file = snapshot is None
    draft = Draft(document=document, file=tables, right=frozenset(right), is_file=is_file)
    space = check(draft, problems)
    name = tables.name if tables.name or "name" not in right else _name_of(file, problems)
    problems.raise_if_any()
    # A name or space that is None has added its problem.
    assert name is not None
    assert space is not None
    return Experiment(
        name=name,
        directions=tables.directions or (tables.direction,),
        parallel=tables.parallel,
        objective=tables.objective,
        space=space,
        sampler=tables.sampler,
        pruner=tables.pruner,
        budget=tables.budget,
        dedup=tables.dedup,
        retry=tables.retry,
        replicates=tables.replicates,
        resources=tables.resources,
        code=tables.code,
        fleet=tables.fleet,
        notify=tables.notify,
        snapshot=snapshot or "",
        points=tuple(map(space.point, tables.points)),
    )


def _name_of(file: str, problems: Problems) -> str:
    stem = PurePath(file).stem
    if not NAME.fullmatch(stem):
        problems.add("name", f"none, and the file's name {describe(stem)} does not do", NAME_EXPECTED)
    return stem


def _local_keys(model: type[BaseModel]) -> set[str]:
    return {key for key, field in model.model_fields.items() if Scope.HOST in field.metadata}


def _document(experiment: Experiment) -> dict[str, Any]:
    """The document of a file that says the same, without the local keys: ``_build`` reads it back."""
    sampler, pruner = experiment.sampler, experiment.pruner
    return {
        "name": experiment.name,
        "directions": list(experiment.directions),
        "objective": experiment.objective.model_dump(exclude=_local_keys(Objective), exclude_none=True),
        "space": _space(experiment.space),
        "sampler": sampler.model_dump(include={"name", "seed"}, exclude_none=True) | sampler.options,
        "pruner": None if pruner is None else pruner.document,
        "budget": experiment.budget.model_dump(exclude_none=True),
        "dedup": experiment.dedup.model_dump(),
        "retry": experiment.retry.model_dump(),
        "replicates": experiment.replicates.model_dump(),
        "code": _code(experiment),
        "fleet": experiment.fleet.model_dump(),
        "notify": experiment.notify and experiment.notify.model_dump(exclude_none=True),
        "points": [dict(point.values) for point in experiment.points],
        "forbid": [conditions.document(each) for each in experiment.space.forbidden],
    }


def _code(experiment: Experiment) -> dict[str, Any] | None:
    if experiment.code is None:
        return None
    shared = experiment.code.model_dump(exclude=_local_keys(Code), exclude_none=True)
    return {**shared, "snapshot": experiment.snapshot} if experiment.snapshot else shared


def _space(space: Space) -> dict[str, Any]:
    tables = {parameter.name: document(parameter) for parameter in space.parameters}
    for name, condition in space.conditions.items():
        tables[name]["when"] = conditions.document(condition)
    return tables
