"""Random spaces whose parameters depend on each other, and their points by brute force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hypothesis import strategies as st

from tuned.domain.conditions import Allowed, Between, Condition, OneOf
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Space, Value

#: The names in the order in which parents are chosen; files have them in any order.
_NAMES = "fbdaec"

_DEEPEST = 3


@st.composite
def forests(draw: st.DrawFn, most_parameters: int = 5) -> Space:
    """Finite, of mixed types, up to three parents deep; some are trees, some have forbidden combinations."""
    count = draw(st.integers(1, most_parameters))
    parameters = [draw(_parameters(name)) for name in _NAMES[:count]]
    depth = {_NAMES[0]: 0}
    conditions: dict[str, Condition] = {}
    for index in range(1, count):
        parents = [each for each in parameters[:index] if depth[each.name] < _DEEPEST]
        chosen = draw(st.lists(st.sampled_from(parents), max_size=2, unique_by=lambda each: each.name))
        depth[_NAMES[index]] = 1 + max((depth[each.name] for each in chosen), default=-1)
        if chosen:
            conditions[_NAMES[index]] = draw(_conditions(chosen))
    forbidden = draw(
        st.lists(
            st.lists(
                st.sampled_from(parameters), min_size=1, max_size=3, unique_by=lambda each: each.name
            ).flatmap(_conditions),
            max_size=3,
        )
    )
    return Space(tuple(draw(st.permutations(parameters))), conditions, tuple(forbidden))


def by_brute_force(space: Space) -> list[Mapping[str, Value]]:
    """The values of all points, by trying everything."""
    return [each for each in _assignments(space, {}) if not any(_met(c, each) for c in space.forbidden)]


def _assignments(space: Space, values: Mapping[str, Value | None]) -> Iterator[dict[str, Value]]:
    """All ways to go on: a parameter is decided once those of its condition are (None: it does not exist)."""
    pending = [parameter for parameter in space.parameters if parameter.name not in values]
    if not pending:
        yield {name: value for name, value in values.items() if value is not None}
        return
    parameter = next(p for p in pending if space.conditions.get(p.name, {}).keys() <= values.keys())
    exists = _met(space.conditions.get(parameter.name, {}), values)
    for value in _values(parameter) if exists else [None]:
        yield from _assignments(space, {**values, parameter.name: value})


def _met(condition: Condition, values: Mapping[str, Value | None]) -> bool:
    return all(_is_allowed(allowed, values.get(name)) for name, allowed in condition.items())


def _is_allowed(allowed: Allowed, value: Value | None) -> bool:
    if value is None:
        return False
    if isinstance(allowed, OneOf):
        return any(each == value and type(each) is type(value) for each in allowed.values)
    assert isinstance(value, int | float)
    low = value if allowed.low is None else allowed.low
    high = value if allowed.high is None else allowed.high
    return low <= value <= high


def _values(parameter: Parameter) -> list[Value]:
    return [parameter.at(index) for index in range(parameter.size or 0)]


def _parameters(name: str) -> st.SearchStrategy[Parameter]:
    return st.one_of(
        st.builds(
            lambda low, width, step: IntParameter(name=name, low=low, high=low + width, step=step),
            st.integers(-3, 3),
            st.integers(0, 3),
            st.integers(1, 2),
        ),
        st.builds(
            lambda low, high: FloatParameter(name=name, low=low, high=high, step=0.1),
            st.sampled_from([0.0, -0.1]),
            st.sampled_from([0.1, 0.3]),
        ),
        st.sampled_from([("a", "b", True), ("a",), (1, 2.5)]).map(
            lambda choices: CategoricalParameter(name=name, choices=choices)
        ),
    )


@st.composite
def _conditions(draw: st.DrawFn, parents: list[Parameter]) -> Condition:
    return {parent.name: draw(_allowed(parent)) for parent in parents}


def _allowed(parameter: Parameter) -> st.SearchStrategy[Allowed]:
    values = _values(parameter)
    some: st.SearchStrategy[Allowed] = st.builds(
        lambda chosen: OneOf(values=tuple(chosen)),
        st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True),
    )
    if isinstance(parameter, CategoricalParameter):
        return some
    ends = st.none() | st.sampled_from(values)
    ranges = st.builds(lambda low, high: Between(low=low, high=high), ends, ends)
    return some | ranges
