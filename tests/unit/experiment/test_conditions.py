"""The shapes of conditions in an experiment file."""

from __future__ import annotations

import pytest

from tests.unit.experiment.sources import LR, told, with_parts

_ANY = "expected a value, an array of values, or a range such as { min = 2, max = 4 }"

_SHAPES = {
    "no table": ("1", "a.when: found 1, expected a table"),
    "nothing": ("{}", "a.when: found an empty table, expected a parameter and its values"),
    "a date": ("{ lr = 1979-05-27 }", f"a.when.lr: found a date or time, {_ANY}"),
    "no values": ("{ lr = [] }", f"a.when.lr: found an empty array, {_ANY}"),
    "an array in an array": (
        "{ lr = [[1]] }",
        (
            "a.when.lr: found an array in an array, "
            "expected an array of strings, finite numbers, true or false"
        ),
    ),
    "no range": (
        "{ lr = {} }",
        "a.when.lr: found an empty table, expected a range of min, max or both",
    ),
    "another range": (
        "{ lr = { low = 1, max = 2 } }",
        'a.when.lr: found a table with "low", expected a range of min, max or both',
    ),
    "a range of words": (
        '{ lr = { min = "a" } }',
        'a.when.lr: found "a", expected a finite number as min',
    ),
    "an infinite range": (
        "{ lr = { max = inf } }",
        "a.when.lr: found inf, expected a finite number as max",
    ),
    "an empty range": (
        "{ lr = { min = 2, max = 1 } }",
        "a.when.lr: found a range from 2 to 1, expected a min that is at most max",
    ),
}


@pytest.mark.parametrize(("when", "line"), _SHAPES.values(), ids=_SHAPES)
def test_a_condition_of_the_wrong_shape_is_told_in_one_line(when: str, line: str) -> None:
    space = f'{LR}\n[space.a]\ntype = "int"\nlow = 1\nhigh = 2\nwhen = {when}'
    assert told(with_parts(space=space)) == [f"x.toml: space.{line}"]


def test_forbidden_combinations_are_an_array_of_tables() -> None:
    line = "x.toml: forbid: found a table, expected an array of tables, written [[forbid]]"
    assert told(with_parts(forbid="[forbid]\nlr = { min = 0.01 }")) == [line]
    assert told(with_parts(forbid="[[forbid]]")) == [
        "x.toml: forbid[0]: found an empty table, expected a parameter and its values"
    ]
