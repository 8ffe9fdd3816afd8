"""Spaces whose parameters depend on each other, from the file to what plain Optuna reads and plots."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState, create_trial
from optuna.visualization._contour import _get_contour_info
from optuna.visualization._parallel_coordinate import _get_parallel_coordinate_info
from optuna.visualization._slice import _get_slice_plot_info

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon
from tuned.experiment.experiment import parse

EXAMPLE = Path(__file__).parents[2] / "examples" / "conditions"

RATES = CategoricalDistribution([0.0001, 0.0003, 0.001, 0.01, 0.03])
OPTIMIZERS = CategoricalDistribution(["plain", "momentum", "adam"])


def test_a_fleet_evaluates_each_allowed_point_of_the_example_once(
    database_url: str, make: MakeDaemon
) -> None:
    text = (EXAMPLE / "conditions.toml").read_text().replace("/srv/conditions", str(EXAMPLE))
    space = parse(text.encode(), "conditions.toml").space
    begin(database_url)
    # SQLite is for one host.
    hosts = [make(name, storage=database_url, host=name) for name in ("alpha", "beta")]
    hosts = hosts if database_url.startswith("postgresql") else hosts[:1]
    for host in hosts:
        host.start().drop("conditions", text)
    for host in hosts:
        host.until_in("done", "conditions", seconds=120)
    study = hosts[0].study("conditions")
    complete = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
    keys = Counter(space.point(trial.params).key for trial in complete)
    assert keys == Counter(space.at(index).key for index in range(41))
    refused, taken = sorted(
        (t for t in study.trials if "fixed_params" in t.system_attrs), key=lambda t: t.number
    )
    assert refused.state is TrialState.FAIL
    assert "beta has a value, but exists only with" in refused.user_attrs["FAILURE"]["message"]
    assert taken.params == {"optimizer": "momentum", "rate": 0.001, "momentum": 0.65}
    assert hosts[0].summary("conditions")["visited"] == 41
    assert best_plots(study)


def begin(url: str) -> None:
    """A study of plain Optuna: one point that is done, and two enqueued trials."""
    study = optuna.create_study(storage=url, study_name="conditions")
    params = {"optimizer": "plain", "rate": 0.001}
    distributions: dict[str, BaseDistribution] = {"optimizer": OPTIMIZERS, "rate": RATES}
    study.add_trial(create_trial(params=params, distributions=distributions, value=0.5))
    study.enqueue_trial({"optimizer": "plain", "rate": 0.001, "beta": 0.9})
    study.enqueue_trial({"optimizer": "momentum", "rate": 0.001, "momentum": 0.65})


def best_plots(study: optuna.Study) -> bool:
    """Whether Optuna's plots and importances find the parameters that only some trials have."""
    assert len(_get_parallel_coordinate_info(study, ["optimizer", "rate"]).dims_params) == 2
    [momentum] = _get_slice_plot_info(study, ["momentum"], None, "Objective Value").subplots
    assert set(momentum.x) == {0.5, 0.65, 0.8, 0.95}
    assert len(_get_contour_info(study, ["momentum", "rate"]).sub_plot_infos) == 1
    importances = optuna.importance.get_param_importances(study)
    assert importances.keys() == {"optimizer", "rate", "momentum", "nesterov", "beta"}
    return "momentum" in study.best_params or "beta" in study.best_params


def test_a_trial_sees_only_the_parameters_that_exist(shared: Daemon) -> None:
    script = 'echo "$TUNED_PARAMS ${TUNED_PARAM_MOMENTUM-none} $*"; echo 1'
    command = ["sh", "-c", script.replace("{", "{{").replace("}", "}}"), "sh", "{kind}", "-m{momentum}"]
    shared.run(
        "existing",
        f"""
        parallel = 1
        [objective]
        command = {json.dumps(command)}
        [space.kind]
        type = "categorical"
        choices = ["a", "b"]
        [space.momentum]
        type = "categorical"
        choices = [0.5]
        when.kind = "b"
        [sampler]
        name = "grid"
    """,
    )
    lines = {shared.tunectl("logs", "existing", str(trial)).stdout.splitlines()[0] for trial in range(2)}
    assert lines == {'{"kind": "a"} none a', '{"kind": "b", "momentum": 0.5} 0.5 b -m0.5'}


def test_an_objective_that_asks_for_a_parameter_that_does_not_exist_is_told_its_condition(
    shared: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "greedy.py").write_text(
        "def objective(trial):\n"
        "    kind = trial.suggest_categorical('kind', ['a', 'b'])\n"
        "    return trial.suggest_int('depth', 1, 2) + (kind == 'a')\n"
    )
    shared.drop(
        "greedy",
        f"""
        [objective]
        python = "greedy:objective"
        path = "{tmp_path}"
        [space.kind]
        type = "categorical"
        choices = ["a", "b"]
        [space.depth]
        type = "int"
        low = 1
        high = 2
        when = {{ kind = "b" }}
        [sampler]
        name = "grid"
    """,
    )
    shared.until_in("done", "greedy")
    states: dict[str, Any] = {str(trial.params): trial for trial in shared.study("greedy").trials}
    assert len(states) == 3
    failed = states["{'kind': 'a'}"]
    assert failed.state is TrialState.FAIL
    assert (
        'depth does not exist in this trial: the experiment file has it when kind = "b"'
        in (failed.user_attrs["FAILURE"]["message"])
    )
