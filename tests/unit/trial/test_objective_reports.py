"""The reports of a Python objective, as its process sends them; and what anything else comes to."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tuned.domain.ending import NAN, Cause, Failure
from tuned.trial.objective_reports import ObjectiveReports


def read(*found: Any, objectives: int = 1) -> ObjectiveReports:
    reports = ObjectiveReports(objectives)
    for each in found:
        reports.feed(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n")
    return reports


def test_values_are_those_that_the_function_returned() -> None:
    assert read({"step": 1, "value": 7.0}, {"values": [0.5]}).finish() == (0.5,)
    assert read({"values": [0.5, -math.inf]}, objectives=2).finish() == (0.5, -math.inf)


def test_a_pruned_trial_has_its_last_report_or_nothing() -> None:
    for values in ([0.5], []):
        reports = read({"pruned": values})
        assert (reports.is_pruned, reports.finish()) == (True, tuple(values))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "the function ended the process before it returned"),
        ([{"problem": "the function returned None"}], "the function returned None"),
        ([{"error": "ValueError: no"}], "ValueError: no"),
        ([{"values": [1.0, 2.0]}], "the function returned 2 values, expected 1"),
        ([{"problem": "x" * 1000}], "x" * 300),
    ],
)
def test_without_a_value_there_is_a_reason(found: list[Any], message: str) -> None:
    assert read(*found).finish() == Failure(cause=Cause.NO_VALUE, message=message)


def test_a_value_that_is_nan_is_said_to_be_one() -> None:
    found = read({"values": [math.nan]}).finish()
    assert found == Failure(cause=Cause.NO_VALUE, message="the value is NaN", detail=NAN)


def test_constraints_are_kept_and_one_that_is_nan_takes_the_value_away() -> None:
    reports = read({"values": [0.5]}, {"constraints": {"latency": 3}})
    assert (reports.finish(), reports.constraints) == ((0.5,), {"latency": 3.0})
    ends: list[dict[str, list[float]]] = [{"values": [0.5]}, {"pruned": []}]
    for end in ends:
        found = read({"constraints": {"latency": math.nan}}, end).finish()
        assert isinstance(found, Failure)
        assert found.message == "constraint 'latency': found NaN, expected a number"


def test_reports_are_kept_as_they_come() -> None:
    reports = read({"step": 1, "value": 7.0}, {"user_attrs": {"a": [1]}}, {"stop": True}, {"ask": "study"})
    assert (reports.intermediate, reports.user_attrs) == ({1: 7.0}, {"a": "[1]"})
    assert (reports.stops_search, reports.question) == (True, "study")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n", b"7\n", b"[]\n", b"\xff\n", b"{" * 100_000 + b"\n", b"x" * 10**6,
        b'{"step": 1e9, "value": 1}\n',
        b'{"step": -1, "value": 1.0}\n', b'{"step": 1, "value": "1"}\n', b'{"values": 7}\n', b'{"stop": 1}\n',
        b'{"user_attrs": 7}\n', b'{"error": 7}\n', b'{"pruned": null}\n',
    ],
)  # fmt: skip
def test_anything_else_changes_nothing(garbage: bytes) -> None:
    reports = read({"values": [0.5]}, garbage)
    assert (reports.finish(), reports.intermediate, reports.stops_search) == ((0.5,), {}, False)
