"""What the tables of an experiment file must mean together: each check adds the problems that it finds.

The checks are independent, so that a person is told everything at once; one that needs a table which is wrong
itself is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from tuned.config import gpus
from tuned.config.toml import Problems, alternatives, describe, dotted, instead_of, printable
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Space
from tuned.experiment import samplers
from tuned.experiment.file import FloatTable, HeadTable, IntTable, ObjectiveTable, SamplerTable, Tables

#: A float of this many steps' worth of rounding error can no longer be told from its neighbours.
_FINEST_STEP = 1e7


#: Longer patterns are programs; RE2 compiles them too slowly.
_LONGEST_PATTERN = 1000


_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def check(tables: Tables, problems: Problems) -> Space | None:
    """Adds what is wrong; returns the space if it, at least, is right."""
    if tables.head:
        _check_head(tables.head, problems)
    if tables.objective:
        _check_objective(tables.objective, tables, problems)
    for index, argument in tables.arguments:
        _check_argument(dotted("objective", "command", index), argument, tables, problems)
    space = _check_space(tables, problems)
    if tables.sampler:
        _check_sampler(tables.sampler, tables, space, problems)
    if space and tables.points:
        _check_points(tables.points, space, problems)
    return space


def placeholders(argument: str) -> Iterator[tuple[str, str | None]]:
    """The places of an argument that are not plain text, and the name in braces, if it is that."""
    for match in _TEMPLATE.finditer(argument):
        yield match[0], match[1]


def substitute(argument: str, texts: dict[str, str]) -> str:
    """The argument with ``{name}`` replaced, and ``{{`` and ``}}`` as braces."""
    return _TEMPLATE.sub(lambda match: texts[match[1]] if match[1] is not None else match[0][0], argument)


def _check_head(head: HeadTable, problems: Problems) -> None:
    if head.direction and head.directions:
        problems.add("directions", "direction beside it", "one of direction and directions")


def _check_objective(objective: ObjectiveTable, tables: Tables, problems: Problems) -> None:
    if objective.command and objective.python:
        problems.add("objective.python", "command beside it", "one of command and python")
    elif objective.command is None and objective.python is None:
        problems.add("objective", "neither command nor python", "one of them")
    elif objective.python and objective.metric:
        problems.add("objective.metric", "a pattern for a Python function", "it only with command")
    elif objective.command and objective.path:
        problems.add("objective.path", describe(objective.path), "it only with python (use workdir or env)")
    if objective.command and "fork" in objective.model_fields_set:
        problems.add("objective.fork", describe(objective.fork), "it only with python")
    if tables.resources and tables.resources.gpus and gpus.VARIABLE in objective.env:
        problems.add(
            f"objective.env.{gpus.VARIABLE}",
            "resources.gpus beside it",
            "one of them: tuned sets it for trials that are given GPUs",
        )
    if objective.metric:
        _check_pattern(objective.metric.pattern, problems)
        if tables.head and len(tables.head.directions or ()) > 1:
            problems.add(
                "objective.metric",
                "a pattern and several directions",
                'JSON lines with "values" in the output',
            )


def _check_argument(key: str, argument: str, tables: Tables, problems: Problems) -> None:
    for found, name in placeholders(argument):
        if name is None and len(found) == 1:
            problems.add(key, f"a single {found}", f"{{name}}, or {found}{found} for the character itself")
        elif name is not None and tables.space and name not in tables.space:
            known = instead_of(name, tables.space)
            problems.add(key, f"the unknown parameter {printable(found)}", f"{known}; {{{{ is a brace")


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


def _check_space(tables: Tables, problems: Problems) -> Space | None:
    before = len(problems.found)
    upper: dict[str, str] = {}
    for name, table in tables.space.items():
        if (other := upper.setdefault(name.upper(), name)) != name:
            problems.add(
                dotted("space", name),
                f"{other} beside it",
                "names that differ in more than upper and lower case",
            )
        if isinstance(table, IntTable | FloatTable):
            _check_range(dotted("space", name), table, problems)
    if len(problems.found) > before or not tables.space or None in tables.space.values():
        return None
    return Space(tuple(table.parameter(name) for name, table in tables.space.items() if table))


def _check_range(key: str, table: IntTable | FloatTable, problems: Problems) -> None:
    if table.low > table.high:
        problems.add(f"{key}.low", describe(table.low), f"at most high ({describe(table.high)})")
    elif not math.isfinite(table.high - table.low):
        problems.add(f"{key}.high", describe(table.high), "a range that a float can hold")
    if table.log and table.low <= 0:
        problems.add(f"{key}.low", describe(table.low), "more than 0, because log = true")
    if table.log and table.step not in (None, 1 if isinstance(table, IntTable) else None):
        problems.add(f"{key}.step", describe(table.step), "no step, because log = true")
    elif isinstance(table, FloatTable) and table.step is not None:
        finest = math.ulp(max(abs(table.low), abs(table.high))) * _FINEST_STEP
        if table.step < finest:
            problems.add(
                f"{key}.step", describe(table.step), f"at least {finest:.1g}, for floats of this size"
            )


def _check_sampler(table: SamplerTable, tables: Tables, space: Space | None, problems: Problems) -> None:
    entry = samplers.SAMPLERS.get(table.name)
    if entry is None:
        problems.add("sampler.name", describe(table.name), instead_of(table.name, samplers.SAMPLERS))
        return
    for keyword in table.options:
        if keyword in entry.options:
            continue
        found = entry.withheld.get(keyword, f"an unknown keyword of the sampler {table.name}")
        problems.add(dotted("sampler", keyword), found, instead_of(keyword, ["name", "seed", *entry.options]))
    for keyword, expected in samplers.option_problems(table.name, table.options):
        problems.add(dotted("sampler", keyword), describe(table.options[keyword]), expected)
    if entry.is_single_objective and tables.head and len(tables.head.directions or ()) > 1:
        fitting = [name for name, other in samplers.SAMPLERS.items() if not other.is_single_objective]
        problems.add("sampler.name", f'"{table.name}" with several directions', alternatives(fitting))
    if entry.is_walk and space:
        _check_walk(table.name, space, problems)


def _check_walk(sampler: str, space: Space, problems: Problems) -> None:
    continuous = [parameter.name for parameter in space.parameters if parameter.size is None]
    for name in continuous:
        problems.add(f"space.{name}", "a continuous parameter", f"a step, because the sampler is {sampler}")
    if not continuous and space.size is None:
        problems.add(
            "space", "over 2**62 points", f"a space that can be walked, because the sampler is {sampler}"
        )


def _check_points(points: list[dict[str, Any]], space: Space, problems: Problems) -> None:
    seen: dict[str, int] = {}
    for index, values in enumerate(points):
        key = dotted("points", index)
        if not _fits(values, key, space, problems):
            continue
        first = seen.setdefault(space.point(values).key, index)
        if first != index:
            problems.add(key, f"the same point as points[{first}]", "points that differ")


def _fits(values: dict[str, Any], key: str, space: Space, problems: Problems) -> bool:
    before = len(problems.found)
    names = [parameter.name for parameter in space.parameters]
    for name in values:
        if name not in names:
            problems.add(dotted(name, prefix=key), "an unknown parameter", instead_of(name, names))
    for parameter in space.parameters:
        place = dotted(parameter.name, prefix=key)
        if parameter.name not in values:
            problems.add(place, "nothing", _values_of(parameter))
        elif not _is_value(parameter, values[parameter.name]):
            problems.add(place, describe(values[parameter.name]), _values_of(parameter))
    return len(problems.found) == before


def _is_value(parameter: Parameter, value: object) -> bool:
    if not isinstance(value, int | float | str):
        return False
    # The space takes 3.0 for 3 and true for 1, as they may come from Optuna; a file should say what it means.
    if isinstance(parameter, IntParameter) and type(value) is not int:
        return False
    if isinstance(parameter, FloatParameter) and type(value) not in {int, float}:
        return False
    try:
        parameter.token(value)
    except (ValueError, OverflowError):
        return False
    return True


def _values_of(parameter: Parameter) -> str:
    if isinstance(parameter, CategoricalParameter):
        shown = [describe(choice) for choice in parameter.choices[:10]]
        return alternatives(shown if len(parameter.choices) <= 10 else [*shown, "another of the choices"])
    word = "an integer" if isinstance(parameter, IntParameter) else "a number"
    steps = f" in steps of {parameter.step}" if parameter.step not in (None, 1) else ""
    return f"{word} from {parameter.low} to {parameter.high}{steps}"
