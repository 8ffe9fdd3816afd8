"""Checks of an experiment file's tables against each other: each adds the problems that it finds.

The checks are independent, so that a person is told everything at once; one that needs a key that is wrong
itself is left out. Nothing here may validate a table or change a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuned.config import gpus
from tuned.config.toml import Problems, alternatives, describe, dotted, instead_of
from tuned.domain import conditions
from tuned.domain.space import Space
from tuned.errors import printable
from tuned.experiment import samplers
from tuned.experiment.file import File, Objective
from tuned.experiment.pruners import Pruner
from tuned.experiment.structure import structured
from tuned.experiment.tables.code import PLACE
from tuned.experiment.values import is_value, values_of

#: Longer patterns are programs; RE2 compiles them too slowly.
_LONGEST_PATTERN = 1000

_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A document, and as much of it as is right."""

    document: Mapping[str, Any]
    #: Of the fields, only those in ``right`` have values from the document.
    file: File
    right: frozenset[str]
    #: A person wrote it: a definition has no local keys.
    is_file: bool = True

    @property
    def parameter_names(self) -> list[str]:
        """As they are written, even if their tables have problems."""
        space = self.document.get("space")
        return list(space) if isinstance(space, dict) else []

    @property
    def conditional_names(self) -> set[str]:
        """The parameters that do not exist in every point."""
        space = self.document.get("space")
        tables = space.items() if isinstance(space, dict) else ()
        return {name for name, table in tables if isinstance(table, dict) and "when" in table}

    @property
    def arguments(self) -> Iterator[tuple[int, str]]:
        """The command's arguments as they are written, even if the objective has other problems."""
        objective = self.document.get("objective")
        command = objective.get("command") if isinstance(objective, dict) else None
        for index, argument in enumerate(command if isinstance(command, list) else ()):
            if isinstance(argument, str):
                yield index, argument

    @property
    def sampler(self) -> tuple[str, Mapping[str, Any]] | None:
        """The sampler's name and its keys as they are written, even if some have problems."""
        raw = self.document.get("sampler", {})
        name = samplers.CHOICE.of(raw)
        return (name, raw) if name is not None and name in samplers.SAMPLERS else None

    @property
    def has_code(self) -> bool:
        return self.document.get("code") is not None

    @property
    def seed(self) -> object:
        raw = self.document.get("sampler")
        return raw.get("seed") if isinstance(raw, dict) else None

    @property
    def objectives(self) -> int | None:
        """How many there are; None if the directions have problems."""
        is_known = {"direction", "directions"} <= self.right
        return len(self.file.directions or (self.file.direction,)) if is_known else None

    @property
    def has_several_directions(self) -> bool:
        return "directions" in self.right and len(self.file.directions or ()) > 1


def check(draft: Draft, problems: Problems) -> Space | None:
    """Adds what is wrong; returns the space if it, at least, is right."""
    if {"direction", "directions"} <= draft.right & draft.document.keys():
        problems.add("directions", "direction beside it", "one of direction and directions")
    if "objective" in draft.right:
        _check_objective(draft.file.objective, draft, problems)
    names = [*draft.parameter_names, *([PLACE[1:-1]] if draft.has_code else [])]
    for index, argument in draft.arguments:
        _check_argument(dotted("objective", "command", index), argument, names, problems)
    _check_code(draft, problems)
    if "budget" in draft.right:
        for key, found, expected in draft.file.budget.conflicting(draft.objectives):
            problems.add(dotted("budget", key), found, expected)
    _check_left_out(draft, problems)
    space = _check_space(draft, problems)
    if draft.sampler:
        _check_sampler(*draft.sampler, draft, space, problems)
    elif draft.seed is not None:
        # Of a sampler that is not known, only the key that all samplers have can be checked.
        problems.value(samplers.Seed, draft.seed, "sampler.seed")
    if "pruner" in draft.right and draft.file.pruner:
        _check_pruner(draft.file.pruner, draft, problems)
        _check_replicates(draft.file.pruner, draft, problems)
    if space and "points" in draft.right:
        _check_points(draft.file.points, space, problems)
    return space


def placeholders(argument: str) -> Iterator[tuple[str, str | None]]:
    """The places of an argument that are not plain text, and the name in braces, if it is that."""
    for match in _TEMPLATE.finditer(argument):
        yield match[0], match[1]


def substitute(argument: str, texts: dict[str, str]) -> str:
    """The argument with ``{name}`` replaced, and ``{{`` and ``}}`` as braces."""
    return _TEMPLATE.sub(lambda match: texts[match[1]] if match[1] is not None else match[0][0], argument)


def _check_objective(objective: Objective, draft: Draft, problems: Problems) -> None:
    if objective.command and objective.python:
        problems.add("objective.python", "command beside it", "one of command and python")
    elif objective.command is None and objective.python is None:
        problems.add("objective", "neither command nor python", "one of them")
    elif objective.python and objective.metric:
        problems.add("objective.metric", "a pattern for a Python function", "it only with command")
    elif objective.command and objective.path:
        problems.add("objective.path", describe(objective.path), "it only with python (use workdir or env)")
    if objective.command and objective.interpreter:
        found, expected = describe(objective.interpreter), "it only with python (write it into command)"
        problems.add("objective.interpreter", found, expected)
    if objective.command and "fork" in objective.model_fields_set:
        problems.add("objective.fork", describe(objective.fork), "it only with python")
    if "resources" in draft.right and draft.file.resources.gpus and gpus.VARIABLE in objective.env:
        problems.add(
            f"objective.env.{gpus.VARIABLE}",
            "resources.gpus beside it",
            "one of them: tuned sets it for trials that are given GPUs",
        )
    if objective.metric:
        _check_pattern(objective.metric.pattern, problems)
        if draft.has_several_directions:
            problems.add(
                "objective.metric",
                "a pattern and several directions",
                'JSON lines with "values" in the output',
            )


def _check_argument(key: str, argument: str, names: list[str], problems: Problems) -> None:
    for found, name in placeholders(argument):
        if name is None and len(found) == 1:
            problems.add(key, f"a single {found}", f"{{name}}, or {found}{found} for the character itself")
        elif name is not None and names and name not in names:
            known = instead_of(name, names)
            problems.add(key, f"the unknown parameter {printable(found)}", f"{known}; {{{{ is a brace")


def _check_left_out(draft: Draft, problems: Problems) -> None:
    """An argument that names a parameter that does not exist is left out: its option must go with it."""
    names = draft.conditional_names
    before: str | None = None
    for index, argument in draft.arguments:
        key = dotted("objective", "command", index)
        conditional = _among(names, argument)
        if conditional and index == 0:
            program = f"a program whose name needs {alternatives(sorted(conditional), 'and')}"
            problems.add(key, program, "one that is there in every trial")
        elif conditional and before is not None and _is_option(before) and not _among(names, before):
            without = alternatives(sorted(conditional), "or")
            together = f"{before}={argument}" if before.startswith("--") else f"{before}{argument}"
            problems.add(
                key,
                f"{describe(argument)} after {describe(before)}, which is left in a trial without {without}",
                describe(together),
            )
        before = argument


def _among(names: set[str], argument: str) -> set[str]:
    """Those of the names that the argument has in braces."""
    return {name for _, name in placeholders(argument) if name in names}


def _is_option(argument: str) -> bool:
    return argument.startswith("-") and argument.strip("-") != "" and "=" not in argument


def _check_pattern(pattern: str, problems: Problems) -> None:
    key = "objective.metric.pattern"
    if len(pattern) > _LONGEST_PATTERN:
        problems.add(key, f"{len(pattern)} characters", f"at most {_LONGEST_PATTERN}")
        return
    groups = _groups(pattern, problems)
    if groups is not None and "value" not in groups:
        problems.add(key, f"no group value in {describe(pattern)}", "a group (?P<value>...)")
    for group in sorted((groups or set()) - {"value", "step"}):
        problems.add(key, f"the group {describe(group)}", "only the groups value and step to have names")


def _groups(pattern: str, problems: Problems) -> set[str] | None:
    """The names of the pattern's groups; None, and a problem added, if it cannot be compiled."""
    # Loaded only for files that have a pattern.
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    try:
        return set(re2.compile(pattern, options=options).groupindex)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        problems.add(
            "objective.metric.pattern", f"{describe(pattern)} ({printable(text)})", "a pattern of RE2"
        )
        return None


def _check_space(draft: Draft, problems: Problems) -> Space | None:
    before = len(problems.found)
    upper: dict[str, str] = {}
    for name in draft.parameter_names:
        if (other := upper.setdefault(name.upper(), name)) != name:
            expected = "names that differ in more than upper and lower case"
            problems.add(dotted("space", name), f"{other} beside it", expected)
    if len(problems.found) > before or "space" not in draft.right:
        return None
    tables = draft.file.space
    return structured(
        [table.parameter(name) for name, table in tables.items()],
        {name: table.when for name, table in tables.items() if table.when is not None},
        draft.file.forbid if "forbid" in draft.right else (),
        problems,
    )


def _check_sampler(
    name: str, raw: Mapping[str, Any], draft: Draft, space: Space | None, problems: Problems
) -> None:
    model = samplers.SAMPLERS[name]
    for keyword, expected in samplers.conflicting(model, raw):
        problems.add(dotted("sampler", keyword), describe(raw[keyword]), expected)
    if model.is_single_objective and draft.has_several_directions:
        fitting = [key for key, other in samplers.SAMPLERS.items() if not other.is_single_objective]
        problems.add("sampler.name", f'"{name}" with several directions', alternatives(fitting))
    if model.is_walk and space:
        _check_walk(name, space, problems)


def _check_pruner(pruner: Pruner, draft: Draft, problems: Problems) -> None:
    objectives = draft.objectives
    if objectives is not None and pruner.objective >= objectives:
        known = alternatives(map(str, range(objectives)))
        why = ", because there is one objective" if objectives == 1 else ""
        problems.add("pruner.objective", str(pruner.objective), known + why)


def _check_replicates(pruner: Pruner, draft: Draft, problems: Problems) -> None:
    if "replicates" in draft.right and draft.file.replicates.count > 1 and pruner.name == "patient":
        expected = "another pruner, because the values of replicates are no curve that could get better"
        problems.add("pruner.name", '"patient" with [replicates]', expected)


def _check_walk(sampler: str, space: Space, problems: Problems) -> None:
    continuous = [parameter.name for parameter in space.parameters if parameter.size is None]
    for name in continuous:
        problems.add(f"space.{name}", "a continuous parameter", f"a step, because the sampler is {sampler}")
    if not continuous and space.size is None:
        problems.add(
            "space", "over 2**62 points", f"a space that can be walked, because the sampler is {sampler}"
        )


def _check_points(points: tuple[Mapping[str, Any], ...], space: Space, problems: Problems) -> None:
    seen: dict[str, int] = {}
    for index, values in enumerate(points):
        key = dotted("points", index)
        if not _fits(values, key, space, problems):
            continue
        first = seen.setdefault(space.point(values).key, index)
        if first != index:
            problems.add(key, f"the same point as points[{first}]", "points that differ")


def _fits(values: Mapping[str, Any], key: str, space: Space, problems: Problems) -> bool:
    before = len(problems.found)
    names = [parameter.name for parameter in space.parameters]
    for name in values:
        if name not in names:
            problems.add(dotted(name, prefix=key), "an unknown parameter", instead_of(name, names))
    right: dict[str, Any] = {}
    #: Parameters of which a wrong value keeps us from knowing whether they exist, or what they are.
    unsure: set[str] = set()
    for parameter in space.ordered:
        name = parameter.name
        place = dotted(name, prefix=key)
        condition = space.conditions.get(name, {})
        is_sure = unsure.isdisjoint(condition)
        if name in values and not is_value(parameter, values[name]):
            problems.add(place, describe(values[name]), values_of(parameter))
            unsure.add(name)
        elif not is_sure:
            unsure.add(name)
        elif not space.exists(name, right):
            if name in values:
                told = f"nothing, because it exists only with {conditions.text(condition)}"
                problems.add(place, describe(values[name]), told)
        elif name in values:
            right[name] = values[name]
        else:
            problems.add(place, "nothing", values_of(parameter))
            unsure.add(name)
    if not unsure and (combination := space.forbidden_by(right)) is not None:
        problems.add(key, f"the forbidden {conditions.text(combination)}", "a point that is not forbidden")
    return len(problems.found) == before


def _check_code(draft: Draft, problems: Problems) -> None:
    """The keys of ``[code]``, and those that are only right beside it."""
    code = draft.file.code if "code" in draft.right else None
    if code is not None and code.dir is None and draft.is_file:
        problems.add("code.dir", "nothing", 'an absolute path, such as "/srv/minima"')
    if code is not None:
        for index, argument in enumerate(code.setup or ()):
            _check_argument(dotted("code", "setup", index), argument, [PLACE[1:-1]], problems)
    if draft.has_code and PLACE[1:-1] in draft.parameter_names:
        expected = f"another name, because {PLACE} is the directory of the code"
        problems.add(f"space.{PLACE[1:-1]}", "[code] beside it", expected)
    if not draft.has_code and "objective" in draft.right:
        objective = draft.file.objective
        for key in ("path", "interpreter", "workdir"):
            value = getattr(objective, key)
            if value is not None and not value.startswith("/"):
                problems.add(f"objective.{key}", describe(value), "an absolute path, or a table [code]")
