"""The programs of an experiment's trials: their arguments and environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.factories import MIXED
from tuned.experiment.experiment import Experiment, parse
from tuned.trial import programs
from tuned.trial.programs import command
from tuned.worker import bootstrap


def experiment(objective: str, env: str = "{}") -> Experiment:
    return parse(f'name = "exp"\n[objective]\n{objective}\nenv = {env}\n{MIXED}'.encode(), "exp.toml")


def test_a_trial_has_the_daemons_environment_without_what_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    withheld = [
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "CREDENTIALS_DIRECTORY",
        "JOURNAL_STREAM", "INVOCATION_ID", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "TUNED_SOCKET",
        "TUNED_PARAM_OTHER",
    ]  # fmt: skip
    for name in [*withheld, "CUDA_VISIBLE_DEVICES"]:
        monkeypatch.setenv(name, "daemon's")
    found = environment()
    assert not found.keys() & set(withheld)
    assert found["CUDA_VISIBLE_DEVICES"] == "daemon's"


def environment(env: str = "{}", **changes: object) -> dict[str, str]:
    content = f'name = "exp"\n[objective]\ncommand = ["true"]\nenv = {env}\n{MIXED}'
    experiment = parse(content.encode(), "exp.toml")
    point = experiment.space.point({"size": 3, "rate": 0.6, "kind": True})
    where = {"trial": 7, "host": "alpha", "slot": 1, "attempt": 2, "point_directory": Path("/points/x")}
    return programs.environment(experiment, point, **{**where, **changes})  # type: ignore[arg-type]


def test_parameters_and_where_it_runs_are_in_the_environment() -> None:
    ours = {name: value for name, value in environment().items() if name.startswith("TUNED_")}
    assert json.loads(ours.pop("TUNED_PARAMS")) == {"size": 3, "rate": 0.6, "kind": True}
    assert ours == {
        "TUNED_PARAM_SIZE": "3",
        "TUNED_PARAM_RATE": "0.6",
        "TUNED_PARAM_KIND": "true",
        "TUNED_EXPERIMENT": "exp",
        "TUNED_TRIAL": "7",
        "TUNED_HOST": "alpha",
        "TUNED_SLOT": "1",
        "TUNED_ATTEMPT": "2",
        "TUNED_REPLICATE": "1",
        "TUNED_POINT_DIR": "/points/x",
    }


def test_the_experiments_environment_wins_over_the_daemons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert environment()["PYTHONUNBUFFERED"] == "1"
    found = environment('{ OMP_NUM_THREADS = "4", PYTHONUNBUFFERED = "" }')
    assert (found["OMP_NUM_THREADS"], found["PYTHONUNBUFFERED"]) == ("4", "")


def test_a_command_has_the_points_values_and_an_objective_is_run_by_our_python() -> None:
    parsed = experiment('command = ["train", "--size={size}"]')
    point = parsed.space.point({"size": 3, "rate": 0.6, "kind": True})
    assert command(parsed, point) == ("train", "--size=3")
    ours = (sys.executable, bootstrap.__file__, "objective", "train:objective")
    assert command(experiment('python = "train:objective"'), point)[:4] == ours


def test_an_objective_is_run_by_the_interpreter_that_it_names() -> None:
    parsed = experiment('python = "train:objective"\ninterpreter = "/venv/bin/python"')
    point = parsed.space.point({"size": 3, "rate": 0.6, "kind": True})
    assert command(parsed, point)[:3] == ("/venv/bin/python", bootstrap.__file__, "objective")
