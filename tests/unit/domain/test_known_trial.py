"""Rows of tables become trials that are known."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping

import pytest

from tuned.domain.known_trial import KnownTrial, known_trial
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Space

SPACE = Space(
    (
        IntParameter(name="size", low=1, high=9),
        FloatParameter(name="rate", low=0.0, high=1.0, step=0.1),
        CategoricalParameter(name="kind", choices=("a", "", True, 2, "7")),
    )
)

ROW: Mapping[str, object] = {
    "params_size": "3",
    "params_rate": "0.30000000000000004",
    "params_kind": "a",
    "value": "0.5",
}


def known(**changes: object) -> KnownTrial:
    return known_trial({**ROW, **changes}, SPACE, 1)


def test_text_and_json_mean_the_same_point() -> None:
    point = SPACE.point({"size": 3, "rate": 0.3, "kind": "a"})
    native = known(params_size=3, params_rate=0.3, value=0.5)
    assert (known().point, native.point) == (point, point)
    assert known().values == native.values == (0.5,)


def test_an_integer_may_be_written_as_a_float() -> None:
    assert known(params_size="3.0").point == known().point


@pytest.mark.parametrize(
    ("text", "choice"),
    [("", ""), ("True", True), ("true", True), (True, True), ("2", 2), ("2.0", 2), (2, 2), ("7", "7")],
)
def test_a_choice_is_found_by_how_it_is_written(text: object, choice: object) -> None:
    found = known(params_kind=text).point.values["kind"]
    assert (found, type(found)) == (choice, type(choice))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"params_rate": ""}, "no value for rate"),
        ({"params_other": "1"}, "no parameter other"),
        ({"params_size": "10"}, r"size: 10.0 is not an integer from 1 to 9"),
        ({"params_size": "big"}, "size: 'big' is not a number"),
        ({"params_kind": "b"}, "kind: 'b' is none of"),
        ({"params_kind": ["a"]}, r'kind: \["a"\] is no value of a parameter'),
        ({"value": ""}, "it has no value"),
        ({"value": "nan"}, "value: 'nan' is not a number"),
        ({"values_0": 1.0}, "it has a column values_0, and the experiment 1 objective"),
        ({"state": "FAIL"}, "its state is FAIL, expected COMPLETE"),
        ({"datetime_start": "soon"}, "datetime_start: 'soon' is not a time"),
    ],
)
def test_a_row_that_does_not_fit_says_why(row: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        known(**row)


def test_each_objective_has_a_column() -> None:
    row = {name: text for name, text in ROW.items() if name != "value"}
    trial = known_trial({**row, "values_0": "1", "values_1": "inf"}, SPACE, 2)
    assert trial.values == (1.0, math.inf)
    with pytest.raises(ValueError, match="a column values_2, and the experiment 2 objectives"):
        known_trial({**row, "values_0": 1, "values_1": 2, "values_2": 3}, SPACE, 2)


def test_a_time_without_a_zone_is_local() -> None:
    trial = known(datetime_start="2025-01-31 12:00:00+02:00", datetime_complete="2025-01-31 12:00:00.5")
    assert trial.started == dt.datetime(2025, 1, 31, 10, tzinfo=dt.UTC)
    assert trial.ended == dt.datetime(2025, 1, 31, 12, 0, 0, 500_000).astimezone(dt.UTC)


def test_user_attributes_come_along_but_for_those_of_tuned() -> None:
    trial = known(user_attrs_note="good", user_attrs_size="[1, 2]", user_attrs_HOST='{"host": "alpha"}')
    assert trial.user_attrs == {"note": "good", "size": [1, 2]}
    with pytest.raises(ValueError, match="printable characters"):
        known(**{"user_attrs_a\x1b": 1})


def test_constraints_come_along_and_one_that_is_none_does_not_fit() -> None:
    column = "system_attrs_constraints"
    assert known(**{f"{column}:latency": "3.1", f"{column}:b": -1}).constraints == {"latency": 3.1, "b": -1.0}
    for name, value in ((":latency", "fast"), (":latency", "nan"), (":", 1), ("", [1.0])):
        with pytest.raises(ValueError, match=column):
            known(**{f"{column}{name}": value})
