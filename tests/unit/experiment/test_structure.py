"""Conditions and forbidden combinations that do not go with the space."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.experiment.sources import read, told, with_parts
from tuned.errors import InvalidInput
from tuned.experiment.experiment import defined

_SPACE = """
[space.kind]
type = "categorical"
choices = ["a", "b"]
[space.n]
type = "int"
low = 1
high = 8
[space.x]
type = "float"
low = 0.0
high = 1.0
step = 0.25
[space.rate]
type = "float"
low = 0.0
high = 1.0
"""

_HEAD = '[objective]\ncommand = ["a"]'


def _when(when: str, more: str = "") -> str:
    """A file with a parameter that has this condition."""
    child = f'[space.child]\ntype = "int"\nlow = 0\nhigh = 1\nwhen = {{ {when} }}'
    return with_parts(head=_HEAD, space=f"{_SPACE}\n{child}", more=more)


def _forbid(*combinations: str) -> str:
    return with_parts(
        head=_HEAD, space=_SPACE, forbid="".join(f"[[forbid]]\n{each}\n" for each in combinations)
    )


_CHILD = "space.child.when"

_REFUSED = {
    "unknown parameter": (
        _when("king = 1"),
        f"{_CHILD}.king: found an unknown parameter, expected kind, n, x, rate or child (did you mean kind?)",
    ),
    "no choice": (_when('kind = "c"'), f'{_CHILD}.kind: found "c", expected "a" or "b"'),
    "one of several": (_when('kind = ["a", 1]'), f'{_CHILD}.kind: found 1, expected "a" or "b"'),
    "outside": (_when("n = 9"), f"{_CHILD}.n: found 9, expected an integer from 1 to 8"),
    "between steps": (
        _when("x = 0.3"),
        f"{_CHILD}.x: found 0.3, expected a number from 0.0 to 1.0 in steps of 0.25",
    ),
    "a range of choices": (
        _when("kind = { min = 1 }"),
        f'{_CHILD}.kind: found a range of choices, expected one or an array of "a" or "b"',
    ),
    "a range of floats": (
        _when("n = { min = 1.5 }"),
        f"{_CHILD}.n: found a range at least 1.5, expected integers as min and max",
    ),
    "an empty range": (
        _when("x = { min = 0.3, max = 0.4 }"),
        (
            f"{_CHILD}.x: found a range with no value of x, "
            "expected a part of a number from 0.0 to 1.0 in steps of 0.25"
        ),
    ),
    "a single float": (
        _when("rate = 0.5"),
        (
            f"{_CHILD}.rate: found single values of rate, which is continuous, "
            "expected a range such as { min = 0.1, max = 0.2 }"
        ),
    ),
    "a range of one float": (
        _when("rate = { max = 0 }"),
        (
            f"{_CHILD}.rate: found a range with only one value of rate, "
            "expected a part of a number from 0.0 to 1.0"
        ),
    ),
    "itself": (
        _when("child = 1"),
        f"{_CHILD}: found the cycle child → child, expected no cycle of conditions",
    ),
    "a cycle": (
        _when('grand = 1, kind = "a"', '[space.grand]\ntype = "int"\nlow = 1\nhigh = 2\nwhen.child = 1'),
        f"{_CHILD}: found the cycle child → grand → child, expected no cycle of conditions",
    ),
    "always": (
        _when('kind = ["b", "a"]'),
        f"{_CHILD}: found a condition that always holds, expected one that does not hold for some points",
    ),
    "never, because parents exclude each other": (
        _when('kind = "a", other = 1', '[space.other]\ntype = "int"\nlow = 1\nhigh = 2\nwhen.kind = "b"'),
        f"{_CHILD}: found a condition that never holds, expected one that does hold for some points",
    ),
    "never, because it is forbidden": (
        _when("n = 1", "[[forbid]]\nn = { max = 2 }"),
        f"{_CHILD}: found a condition that never holds, expected one that does hold for some points",
    ),
    "forbids everything": (
        _forbid("n = { min = 0 }", "n = 1"),
        "forbid[0]: found every point, expected combinations that leave a point",
    ),
    "forbid everything together": (
        _forbid("n = { min = 3 }", "n = { max = 5 }"),
        "forbid: found every point, expected combinations that leave a point",
    ),
    "forbids nothing": (
        _when('kind = "a"', '[[forbid]]\nkind = "b"\nchild = 0'),
        "forbid[0]: found no point at all, expected a combination that points would have",
    ),
    "forbids what is not there": (
        _forbid("n = 1\nm = 2"),
        "forbid[0].m: found an unknown parameter, expected kind, n, x or rate",
    ),
    "forbids no value": (_forbid("n = [1, 9]"), "forbid[0].n: found 9, expected an integer from 1 to 8"),
}


@pytest.mark.parametrize(("source", "line"), _REFUSED.values(), ids=_REFUSED)
def test_a_structure_that_cannot_be_meant_is_told_in_one_line(source: str, line: str) -> None:
    assert told(source) == [f"x.toml: {line}"]


def test_all_problems_of_a_structure_are_told_at_once() -> None:
    assert len(told(_when('kind = "c", m = 1', "[[forbid]]\nn = 0"))) == 3


def test_each_cycle_is_told_once_and_parents_may_stand_anywhere() -> None:
    table = '[space.{}]\ntype = "int"\nlow = 0\nhigh = 3\nwhen = {{ {} = 1 }}\n'
    parents = {"a": "b", "b": "c", "c": "a", "d": "a", "e": "f", "f": "e", "g": "h", "h": "n"}
    more = "".join(table.format(name, parent) for name, parent in parents.items())
    lines = told(with_parts(head=_HEAD, space=f"{more}\n{_SPACE}"))
    assert [line.split("found ")[1].split(",")[0] for line in lines] == [
        "the cycle a → b → c → a",
        "the cycle e → f → e",
    ]


def test_a_structure_that_is_too_intricate_is_refused() -> None:
    bits = "".join(f'[space.b{each}]\ntype = "int"\nlow = 0\nhigh = 1\n' for each in range(80))
    pairs = [(a, (a * a * 3 + 7 * step) % 80) for a in range(80) for step in (1, 2, 3)]
    forbid = "".join(f"[[forbid]]\nb{a} = 1\nb{b} = 1\n" for a, b in pairs if a != b)
    assert told(with_parts(head=_HEAD, space=bits, forbid=forbid)) == [
        (
            "x.toml: space: found a structure of over 200000 steps to count its points, "
            "expected fewer conditions and [[forbid]] that meet each other"
        )
    ]


def test_a_range_may_have_one_end_only_and_lie_across_a_continuous_parameter() -> None:
    space = read(_when("n = { max = 3 }, rate = { min = 0.5 }")).space
    assert space.exists("child", {"n": 3, "rate": 0.5})
    assert not space.exists("child", {"n": 3, "rate": 0.4999})
    assert not space.exists("child", {"n": 4, "rate": 0.5})


_VALUES = st.sampled_from([0, 1, 2.0, 0.5, -1, True, "a", "b", "", 2**60, 1e300, None])
_ENDS = st.dictionaries(st.sampled_from(["min", "max", "low"]), _VALUES, max_size=2)
_TERMS = st.dictionaries(
    st.sampled_from(["kind", "n", "x", "rate", "m"]),
    _VALUES | st.lists(_VALUES, max_size=3) | _ENDS,
    max_size=2,
)
_TABLES: dict[str, dict[str, Any]] = {
    "kind": {"type": "categorical", "choices": ["a", 1]},
    "n": {"type": "int", "low": 0, "high": 4, "step": 2},
    "x": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.5},
    "rate": {"type": "float", "low": 0.0, "high": 1.0},
}


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(list(_TABLES)), _TERMS, max_size=2), st.lists(_TERMS, max_size=2))
def test_any_structure_is_read_and_written_alike_or_refused_in_words(
    whens: dict[str, Any], forbid: list[Any]
) -> None:
    space = {
        name: table | ({"when": whens[name]} if name in whens else {}) for name, table in _TABLES.items()
    }
    document = {"objective": {"command": ["a"]}, "space": space, "forbid": forbid}
    with contextlib.suppress(InvalidInput):
        experiment = defined(json.dumps(document), "exp")
        assert defined(experiment.definition(), "exp").definition() == experiment.definition()
