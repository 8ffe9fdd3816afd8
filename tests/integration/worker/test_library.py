"""Optuna in the Python of an objective: imported for one that asks, and never otherwise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tuned.worker.library import imported, optuna

#: As a trial that no experiment belongs to.
TRIAL = """
import sys
from tuned.worker.study import Definition
from tuned.worker.trial import WorkerTrial, is_pruning
trial = WorkerTrial("exp", Definition({}, ["minimize"]), {}, 0, None)
"""


def run(script: str) -> str:
    command = [sys.executable, "-c", TRIAL + script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_nobody_imports_it_but_an_objective_that_asks_for_something_of_it() -> None:
    script = 'print("optuna" in sys.modules, trial.study.direction.name, "optuna" in sys.modules)'
    assert run(script) == "False MINIMIZE True"


def test_a_trial_is_optunas_once_somebody_has_imported_that() -> None:
    script = "print(type(trial).__name__); import optuna; print(isinstance(trial, optuna.trial.Trial))"
    assert run(script).split() == ["WorkerTrial", "True"]


def test_both_exceptions_give_a_point_up() -> None:
    script = "print(is_pruning(trial.TrialPruned()), is_pruning(ValueError())); import optuna; "
    assert run(f"{script}print(is_pruning(optuna.TrialPruned()))").split() == ["True", "False", "True"]


def test_a_module_that_is_not_there_is_told_as_python_tells_it() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'optuna\.no_such'"):
        optuna("no_such")
    assert imported("no_such", "Trial") is None
