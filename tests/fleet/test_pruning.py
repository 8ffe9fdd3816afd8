"""Two hosts prune by the same rungs, also by those of trials that still run on the other host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.fleet.hosts import Fleet
from tests.fleet.verdict import host_of
from tests.waiting import until

#: Daemons start slowly on a busy machine.
pytestmark = pytest.mark.timeout(300)

RULE = '[pruner]\nname = "successive-halving"\nmin_resource = 1\nreduction_factor = 2\n'


def test_a_trial_is_pruned_by_the_rung_of_one_that_runs_on_another_host(fleet: Fleet, tmp_path: Path) -> None:
    shared, over = tmp_path / "shared", tmp_path / "over"
    wait = "until [ -e {0} ]; do sleep 0.1; done"
    good = f"""echo '{{"step": 1, "value": 0.5}}'; {wait.format(over)}; echo 0.5"""
    bad = f"""{wait.format(shared)}; echo '{{"step": 1, "value": 5}}'; sleep 600"""
    script = f"[ $TUNED_PARAM_X = 1 ] || {{ {good}; exit 0; }}; {bad}"
    command = json.dumps(["sh", "-c", script.replace("{", "{{").replace("}", "}}")])
    for host in fleet.start(2, slots=1):
        # Plain Optuna would make the same tables.
        host.until_joined()
    fleet.drop(
        "exp",
        f'[objective]\ncommand = {command}\n[space.x]\ntype = "int"\nlow = 0\nhigh = 1\n'
        f'[sampler]\nname = "grid"\n{RULE}',
    )

    def rungs() -> list[float]:
        try:
            trials = fleet.study("exp").get_trials(deepcopy=False)
        except KeyError:
            # No host has made the study yet.
            return []
        return [
            trial.system_attrs["completed_rung_0"]
            for trial in trials
            if "completed_rung_0" in trial.system_attrs
        ]

    until(lambda: rungs() == [0.5], what="the rung of a running trial", seconds=120)
    shared.touch()
    until(lambda: 5.0 in rungs(), what="the rung of the pruned trial", seconds=60)
    over.touch()
    fleet.until_done("exp")
    ended = {trial.params["x"]: trial for trial in fleet.study("exp").trials}
    assert (ended[0].state, ended[1].state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert ended[1].user_attrs["PRUNED"] == {"rule": "successive-halving", "step": 1, "value": 5.0}
    assert host_of(ended[0]) != host_of(ended[1])
