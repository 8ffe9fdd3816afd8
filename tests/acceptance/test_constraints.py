"""Constraints at the real daemon: from what a trial prints to the best trial, on each database."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, checked
from tuned.protocol.trials import BestsView

BEAM = Path(__file__).parents[2] / "examples" / "beam"

OBJECTIVE = """
def objective(trial):
    x = trial.suggest_int("x", 0, 3)
    trial.set_constraint("c", x - 1)
    try:
        trial.set_user_attr("best", trial.study.best_trial.number)
    except ValueError as error:
        trial.set_user_attr("best", str(error))
    return -x
"""


def bests(daemon: Daemon, name: str) -> BestsView:
    return daemon.client.get(f"/v1/experiments/{name}/best", BestsView)


def test_the_front_has_only_what_keeps_its_constraint(make: MakeDaemon, database_url: str) -> None:
    daemon = make(storage=database_url).start()
    text = (BEAM / "beam.toml").read_text().replace("/srv/beam", str(BEAM))
    # A point that is drawn twice at once would be skipped, and have no constraints.
    text = f'{text.replace("trials = 40", "trials = 15")}\n[dedup]\non_running = "resample"\n'
    daemon.run("beam", checked(text), 120)
    study = daemon.study("beam")
    assert [set(trial.constraints) for trial in study.trials] == [{"stress"}] * 15
    assert any(trial.constraints["stress"] > 0 for trial in study.trials)
    front = [(each["number"], each["values"]) for each in bests(daemon, "beam")["best"]]
    assert front == [(trial.number, trial.values) for trial in study.best_trials]

    (daemon.home / "train.py").write_text(OBJECTIVE)
    file = f'parallel = 1\n[objective]\npython = "train:objective"\npath = "{daemon.home}"\n'
    space = '[space.x]\ntype = "int"\nlow = 0\nhigh = 3\n[sampler]\nname = "grid"\n'
    best = daemon.run("python", checked(file + space), 120)["best"]
    assert best is not None
    assert (best["params"], best["values"], best["constraints"]) == ({"x": 1}, [-1], {"c": 0})
    known = [trial.user_attrs["best"] for trial in daemon.study("python").trials]
    assert known[0] == "No feasible trials are completed yet."


def test_without_a_feasible_trial_the_nearest_one_is_named(shared: Daemon) -> None:
    line = json.dumps(r'printf "{{\"value\": 1, \"constraints\": {{\"c\": 1$0}}}}"')
    text = (
        f'[objective]\ncommand = ["sh", "-c", {line}, "{{x}}"]\n[space.x]\ntype = "int"\nlow = 0\nhigh = 3\n'
    )
    summary = shared.run("hopeless", checked(text + '[sampler]\nname = "grid"\n'))
    assert (summary["best"], summary["counts"]["complete"]) == (None, 4)
    nearest = bests(shared, "hopeless")["nearest"]
    assert nearest is not None
    assert (nearest["params"], nearest["constraints"]) == ({"x": 0}, {"c": 10})
    shown = shared.tunectl("best", "hopeless")
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (1, "No trial is feasible. The nearest one:")
    waited = shared.tunectl("wait", "hopeless")
    assert (waited.returncode, waited.stdout) == (
        1,
        "hopeless is done, no trial is feasible: all 4 points visited\n",
    )
    assert "c 10 (violated)" in shared.tunectl("explain", "hopeless", str(nearest["number"])).stdout
    assert "violates c" in shared.tunectl("trials", "hopeless").stdout
