"""The tables of the search space."""

from __future__ import annotations

import pytest

from tests.unit.experiment.sources import LR, choices, int_space, told, with_parts


def _float(keys: str) -> str:
    return with_parts(space=f'[space.lr]\ntype = "float"\n{keys}')


_EXACT = "an integer from -2**53 to 2**53 (the database holds floats)"


_REFUSED = {
    "parameter name": (
        with_parts(space=LR + LR.replace("lr", "l-r")),
        (
            'space.l-r: found the name "l-r", '
            "expected a name of up to 64 letters, digits and '_', not beginning with a digit"
        ),
    ),
    "long parameter name": (
        with_parts(space=LR + LR.replace("lr", "r" * 65)),
        (
            f'space.{"r" * 59}…: found the name "{"r" * 59}…", '
            "expected a name of up to 64 letters, digits and '_', not beginning with a digit"
        ),
    ),
    "no type": (
        with_parts(space="[space.lr]\nlow = 1"),
        'space.lr.type: found nothing, expected "int", "float" or "categorical"',
    ),
    "a parameter inside of another": (
        with_parts(space=f"[space.a]\nlow = 1\n[space.a.lr]\nlow = 1\n{LR}"),
        "space.a.lr: found a table, expected type in space.a, or [space.lr] beside it",
    ),
    "type": (
        with_parts(space='[space.lr]\ntype = "real"'),
        'space.lr.type: found "real", expected "int", "float" or "categorical"',
    ),
    "misspelled bound": (
        int_space("low = 1\nhigh = 2\nstp = 3"),
        (
            "space.lr.stp: found an unknown key, "
            "expected type, low, high, step, log or when (did you mean step?)"
        ),
    ),
    "no bound": (int_space("low = 1"), "space.lr.high: found nothing, expected an integer"),
    "string bound": (_float('low = "1"\nhigh = 2'), 'space.lr.low: found "1", expected a number'),
    "boolean bound": (_float("low = true\nhigh = 2"), "space.lr.low: found true, expected a number"),
    "float bound": (int_space("low = 1.0\nhigh = 2"), "space.lr.low: found 1.0, expected an integer"),
    "date bound": (
        int_space("low = 1979-05-27\nhigh = 2"),
        "space.lr.low: found a date or time, expected an integer",
    ),
    "NaN": (_float("low = nan\nhigh = 2"), "space.lr.low: found nan, expected a finite number"),
    "infinity": (_float("low = 1\nhigh = inf"), "space.lr.high: found inf, expected a finite number"),
    "empty range": (_float("low = 2\nhigh = 1"), "space.lr.low: found 2.0, expected at most high (1.0)"),
    "empty int range": (int_space("low = 2\nhigh = 1"), "space.lr.low: found 2, expected at most high (1)"),
    "range too wide": (
        _float("low = -1e308\nhigh = 1e308"),
        "space.lr.high: found 1e+308, expected a range that a float can hold",
    ),
    "large int": (
        int_space(f"low = 0\nhigh = {2**53 + 1}"),
        f"space.lr.high: found {2**53 + 1}, expected {_EXACT}",
    ),
    "log": (
        _float("low = 0\nhigh = 1\nlog = true"),
        "space.lr.low: found 0.0, expected more than 0, because log = true",
    ),
    "int log": (
        int_space("low = 0\nhigh = 1\nlog = true"),
        "space.lr.low: found 0, expected more than 0, because log = true",
    ),
    "log and step": (
        _float("low = 1\nhigh = 2\nstep = 0.5\nlog = true"),
        "space.lr.step: found 0.5, expected no step, because log = true",
    ),
    "int log and step": (
        int_space("low = 1\nhigh = 9\nstep = 2\nlog = true"),
        "space.lr.step: found 2, expected no step, because log = true",
    ),
    "no step": (_float("low = 1\nhigh = 2\nstep = 0"), "space.lr.step: found 0, expected more than 0"),
    "no int step": (int_space("low = 1\nhigh = 2\nstep = 0"), "space.lr.step: found 0, expected at least 1"),
    "step too fine": (
        _float("low = 1e6\nhigh = 1000001\nstep = 1e-6"),
        "space.lr.step: found 1e-06, expected at least 0.001, for floats of this size",
    ),
    "no choices": (
        choices("[]"),
        "space.lr.choices: found an empty array, expected an array that is not empty",
    ),
    "equal choices": (
        choices("[1, true]"),
        "space.lr.choices: found true twice, expected choices that differ (1, 1.0 and true are equal)",
    ),
    "nested choice": (
        choices("[[1]]"),
        "space.lr.choices[0]: found an array, expected a string, a finite number, true or false",
    ),
    "NaN choice": (
        choices("[nan]"),
        "space.lr.choices[0]: found nan, expected a string, a finite number, true or false",
    ),
}


@pytest.mark.parametrize(("source", "line"), _REFUSED.values(), ids=_REFUSED)
def test_a_mistake_is_told_in_one_line(source: str, line: str) -> None:
    assert told(source) == [f"x.toml: {line}"]
