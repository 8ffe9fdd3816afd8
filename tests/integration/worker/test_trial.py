"""The trial that an objective sees: what Optuna's has, and an error that names what there is not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tests.integration.worker.channels import VALUES, Ends, ends
from tuned.domain.constraints import MOST_CONSTRAINTS
from tuned.worker.channel import ASK_PRUNING
from tuned.worker.trial import WorkerTrial


@pytest.fixture
def both() -> Iterator[Ends]:
    with ends() as each:
        yield each


@pytest.fixture
def trial(both: Ends) -> WorkerTrial:
    return both.trial()


def test_it_is_a_trial_of_optuna_with_all_of_its_parameters(trial: WorkerTrial) -> None:
    assert isinstance(trial, optuna.trial.Trial)
    assert (trial.number, trial._trial_id) == (7, 7)
    assert trial.params == trial.relative_params == VALUES
    assert trial.distributions == {
        "x": IntDistribution(0, 9),
        "rate": FloatDistribution(0.001, 1.0, log=True),
        "share": FloatDistribution(0.0, 1.0, step=0.25),
        "kind": CategoricalDistribution(["a", True]),
    }
    assert (trial.user_attrs, trial.system_attrs, trial.constraints) == ({}, {}, {})
    assert trial.datetime_start is not None


def test_parameters_are_asked_for_as_in_optuna(trial: WorkerTrial) -> None:
    assert trial.suggest_int("x", np.int64(0), 9.0, step=1, log=False) == 3  # type: ignore[arg-type]
    assert trial.suggest_float("rate", np.float64(0.001), 1, log=True) == 0.5
    assert trial.suggest_float("share", 0, 1, step=0.25) == 0.75
    assert trial.suggest_categorical("kind", np.array(["a", True], dtype=object)) is True  # type: ignore[arg-type]


def test_a_parameter_whose_condition_does_not_hold_is_refused_with_it(trial: WorkerTrial) -> None:
    told = 'momentum does not exist in this trial: the experiment file has it when kind = "a"'
    with pytest.raises(ValueError, match=told):
        trial.suggest_float("momentum", 0.0, 0.9)
    assert "momentum" not in {**trial.params, **trial.distributions}


@pytest.mark.filterwarnings("ignore:.*has been deprecated:FutureWarning")
def test_the_deprecated_ways_to_ask_are_there(trial: WorkerTrial) -> None:
    assert trial.suggest_loguniform("rate", 0.001, 1.0) == 0.5
    assert trial.suggest_discrete_uniform("share", 0.0, 1.0, 0.25) == 0.75
    with pytest.raises(ValueError, match="asks for log = false, the experiment file says log = true"):
        trial.suggest_uniform("rate", 0.001, 1.0)


@pytest.mark.parametrize("step", [2, 2.9, "2", np.int64(2), np.uint8(2), np.float32(2.5), True + True])
@pytest.mark.parametrize("value", [0.5, "0.5", np.float32(0.5), np.array(0.5), Fraction(1, 2)])
def test_steps_and_values_are_converted_as_optuna_converts_them(both: Ends, step: Any, value: Any) -> None:
    both.trial().report(value, step)
    assert both.told() == [{"step": 2, "value": 0.5}]


@pytest.mark.parametrize(
    ("value", "step", "error", "message"),
    [
        (1.0, -1, ValueError, "cannot report step -1: expected an integer from 0"),
        (1.0, 2**31, ValueError, "cannot report step 2147483648"),
        (1.0, None, TypeError, "cannot report step None: expected a number"),
        (1.0, math.nan, TypeError, "cannot report step nan: expected a number"),
        ([1.0], 1, TypeError, r"cannot report value \[1.0\]: expected a number"),
        (10**400, 1, TypeError, "expected a number"),
    ],
)
def test_a_report_that_cannot_be_is_told(
    both: Ends, value: Any, step: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        both.trial().report(value, step)
    assert both.told() == []


def test_the_first_value_of_a_step_stands(both: Ends) -> None:
    trial = both.trial()
    trial.report(0.5, 1)
    with pytest.warns(UserWarning, match="step 1 is reported already"):
        trial.report(0.25, 1)
    assert both.told() == [{"step": 1, "value": 0.5}]


@pytest.mark.parametrize(
    ("reports", "expected"),
    [({}, []), ({5: 0.5, 2: 0.25}, [0.5]), ({5: math.nan, 2: 0.25}, []), ({0: math.inf}, [math.inf])],
)
def test_the_last_report_is_that_of_the_highest_step(
    trial: WorkerTrial, reports: dict[int, float], expected: list[float]
) -> None:
    for step, value in reports.items():
        trial.report(value, step)
    assert trial.last_report == expected


def test_the_daemon_is_asked_whether_a_trial_is_to_end(both: Ends) -> None:
    trial = both.trial()
    for answer in (b"false\n", b"true\n"):
        both.ours.sendall(answer)
        assert trial.should_prune() is (answer == b"true\n")
    assert both.told() == [ASK_PRUNING, ASK_PRUNING]


def test_with_several_objectives_a_report_has_a_value_of_each(both: Ends) -> None:
    trial = both.trial("minimize", "maximize")
    trial.report((np.float32(0.5), 2), 1)  # type: ignore[arg-type]
    assert (both.told(), trial.last_report) == ([{"step": 1, "values": [0.5, 2.0]}], [0.5, 2.0])
    with pytest.raises(ValueError, match="cannot report 1 value: expected 2, one for each objective"):
        trial.report([1.0], 2)
    with pytest.raises(TypeError, match=r"cannot report value 1\.0: expected a number for each objective"):
        trial.report(1.0, 2)


def test_a_trial_without_a_rule_asks_once_at_most(both: Ends) -> None:
    trial = both.trial()
    both.ours.sendall(b"null\n")
    assert not any(trial.should_prune() for _ in range(3))
    assert both.told() == [ASK_PRUNING]


def test_user_attributes_may_hold_the_numbers_of_another_library(both: Ends) -> None:
    trial = both.trial()
    trial.set_user_attr("shape", [np.int64(3), np.float32(0.5), {"deep": np.bool_(True)}])
    assert both.told() == [{"user_attrs": {"shape": [3, 0.5, {"deep": True}]}}]
    assert trial.user_attrs["shape"][0] == 3


@pytest.mark.parametrize("name", ["storage", "relative_search_space", "set_system_attr", "_suggest_x"])
def test_a_part_that_there_is_not_is_named(trial: WorkerTrial, name: str) -> None:
    with pytest.raises(AttributeError, match=f"a trial has no '{name}' when tuned runs the objective"):
        getattr(trial, name)


def test_constraints_are_kept_as_in_optuna(both: Ends) -> None:
    trial = both.trial("minimize", "maximize")
    trial.set_constraint("latency", np.float64(0.5))
    trial.set_constraint("memory", Fraction(-1, 2))  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="constraint 'latency' is set already"):
        trial.set_constraint("latency", 7)
    assert trial.constraints == {"latency": 0.5, "memory": -0.5}
    assert trial.system_attrs == {"constraints:latency": 0.5, "constraints:memory": -0.5}
    assert both.told() == [{"constraints": {"latency": 0.5}}, {"constraints": {"memory": -0.5}}]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("a", math.nan, ValueError),
        ("a", "fast", TypeError),
        ("", 1.0, ValueError),
        ("x" * 501, 1, ValueError),
    ],
)
def test_a_constraint_that_cannot_be_is_told(
    both: Ends, name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"cannot set (a )?constraint.*expected"):
        both.trial().set_constraint(name, value)
    assert both.told() == []


def test_a_trial_has_no_more_constraints_than_are_kept(trial: WorkerTrial) -> None:
    for n in range(MOST_CONSTRAINTS):
        trial.set_constraint(f"c{n}", n)
    with pytest.raises(ValueError, match="found more than 256 constraints"):
        trial.set_constraint("another", 1)
