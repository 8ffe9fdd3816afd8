"""Checks of a space's structure: the conditions of its parameters, and its forbidden combinations.

It owns the rules that name several parameters. It must never read a document.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence

from tuned.config.toml import Problems, describe, dotted, instead_of
from tuned.domain.branches import spans
from tuned.domain.conditions import Allowed, Between, Condition, OneOf
from tuned.domain.forest import Forest, TooIntricate
from tuned.domain.precedence import ordered
from tuned.domain.space import CategoricalParameter, IntParameter, Parameter, Space
from tuned.experiment.values import is_value, values_of


def structured(
    parameters: Sequence[Parameter],
    conditions: Mapping[str, Condition],
    forbidden: Sequence[Condition],
    problems: Problems,
) -> Space | None:
    """The space; None, and its problems added, if its structure is wrong."""
    before = len(problems.found)
    known = {parameter.name: parameter for parameter in parameters}
    for name, condition in conditions.items():
        _check_terms(dotted("space", name, "when"), condition, known, problems)
    for index, condition in enumerate(forbidden):
        _check_terms(dotted("forbid", index), condition, known, problems)
    for cycle in _cycles(conditions):
        problems.add(
            dotted("space", cycle[0], "when"), f"the cycle {' → '.join(cycle)}", "no cycle of conditions"
        )
    if len(problems.found) > before:
        return None
    space = Space(
        tuple(parameters),
        {name: _canonical(condition, known) for name, condition in conditions.items()},
        tuple(_canonical(condition, known) for condition in forbidden),
    )
    try:
        _check_points(space, problems)
    except TooIntricate as error:
        problems.add(
            "space", f"a structure of {error}", "fewer conditions and [[forbid]] that meet each other"
        )
    return space if len(problems.found) == before else None


def _check_terms(key: str, condition: Condition, known: Mapping[str, Parameter], problems: Problems) -> None:
    for name, allowed in condition.items():
        place = dotted(name, prefix=key)
        parameter = known.get(name)
        if parameter is None:
            problems.add(place, "an unknown parameter", instead_of(name, known))
        elif isinstance(allowed, Between):
            _check_range(place, parameter, allowed, problems)
        elif parameter.size is None:
            problems.add(
                place,
                f"single values of {name}, which is continuous",
                "a range such as { min = 0.1, max = 0.2 }",
            )
        else:
            for value in allowed.values:
                if not is_value(parameter, value):
                    problems.add(place, describe(value), values_of(parameter))


def _check_range(place: str, parameter: Parameter, allowed: Between, problems: Problems) -> None:
    ends = [end for end in (allowed.low, allowed.high) if end is not None]
    if isinstance(parameter, CategoricalParameter):
        problems.add(place, "a range of choices", f"one or an array of {values_of(parameter)}")
        return
    if isinstance(parameter, IntParameter) and any(type(end) is not int for end in ends):
        problems.add(place, f"a range {allowed}", "integers as min and max")
        return
    found = spans(parameter, allowed)
    is_point = parameter.size is None and any(first == last for first, last in found)
    if not found or is_point:
        told = f"a range with {'only one' if is_point else 'no'} value of {parameter.name}"
        problems.add(place, told, f"a part of {values_of(parameter)}")


def _cycles(conditions: Mapping[str, Condition]) -> Iterator[list[str]]:
    """Cycles without a common parameter, each as a path from child to parent that ends where it begins."""
    left = dict(conditions)
    while left := _unordered(left):
        path: list[str] = []
        name = next(iter(left))
        while name not in path:
            path.append(name)
            name = next(parent for parent in left[name] if parent in left)
        cycle = path[path.index(name) :]
        yield [*cycle, name]
        left = {each: condition for each, condition in left.items() if each not in cycle}


def _unordered(conditions: Mapping[str, Condition]) -> dict[str, Condition]:
    """Those that are in a cycle, or below one."""
    parents = {name: [each for each in terms if each in conditions] for name, terms in conditions.items()}
    done: set[str] = set()
    with contextlib.suppress(ValueError):
        done.update(ordered(list(conditions), parents, []))
    return {name: condition for name, condition in conditions.items() if name not in done}


def _canonical(condition: Condition, known: Mapping[str, Parameter]) -> Condition:
    """The same in one form, so that files that mean the same have the same definition."""
    return {name: _sorted(condition[name], known[name]) for name in known if name in condition}


def _sorted(allowed: Allowed, parameter: Parameter) -> Allowed:
    if isinstance(allowed, Between):
        # 0 and 0.0 are one end of a float's range, and have one form in the definition.
        kind = int if isinstance(parameter, IntParameter) else float
        ends = [None if end is None else kind(end) for end in (allowed.low, allowed.high)]
        return Between(low=ends[0], high=ends[1])
    by_place = {parameter.place(value): parameter.canonical(value) for value in allowed.values}
    return OneOf(values=tuple(by_place[place] for place in sorted(by_place)))


def _check_points(space: Space, problems: Problems) -> None:
    """Raises TooIntricate."""
    if space.forest.size == 0:
        alone = [index for index, each in enumerate(space.forbidden) if _leaves_nothing(space, each)]
        for key in [dotted("forbid", index) for index in alone] or ["forbid"]:
            problems.add(key, "every point", "combinations that leave a point")
        return
    for name in space.conditions:
        exists = space.forest.existence(name)
        if len(exists) == 1:
            holds, other = ("always", "does not") if True in exists else ("never", "does")
            problems.add(
                dotted("space", name, "when"),
                f"a condition that {holds} holds",
                f"one that {other} hold for some points",
            )
    for index, combination in enumerate(space.forbidden):
        if _matches_nothing(space, combination):
            problems.add(dotted("forbid", index), "no point at all", "a combination that points would have")


def _leaves_nothing(space: Space, combination: Condition) -> bool:
    return Forest(space.parameters, space.conditions, [combination]).size == 0


def _matches_nothing(space: Space, combination: Condition) -> bool:
    """Whether no point would have it, even if nothing were forbidden."""
    names = _with_ancestors(combination, space.conditions)
    axes = [parameter for parameter in space.parameters if parameter.name in names]
    conditions = {name: each for name, each in space.conditions.items() if name in names}
    only = {axis.name: spans(axis, combination[axis.name]) for axis in axes if axis.name in combination}
    return Forest(axes, conditions, (), only).size == 0


def _with_ancestors(names: Collection[str], conditions: Mapping[str, Condition]) -> set[str]:
    found: set[str] = set()
    pending = list(names)
    while pending:
        if (name := pending.pop()) not in found:
            found.add(name)
            pending += conditions.get(name, ())
    return found
