"""Trials leave as a table and come in as known points, while a fleet works."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import an_experiment

GRID = '[sampler]\nname = "grid"\n'


@pytest.mark.parametrize("hosts", [1, 2])
def test_points_that_were_evaluated_elsewhere_are_not_evaluated_again(
    make: MakeDaemon, tmp_path: Path, postgresql_url: str, hosts: int
) -> None:
    storage = None if hosts == 1 else postgresql_url
    fleet = [make(f"host{n}", storage=storage, host=f"host{n}").start() for n in range(hosts)]
    first, *_ = fleet
    first.run("older", an_experiment(high=9, more=GRID))
    file = tmp_path / "older.csv"
    assert first.tunectl("export", "older", "-o", str(file)).returncode == 0
    frame = pd.read_csv(file)
    assert list(frame["value"]) == [trial.value for trial in first.study("older").trials]
    gate = tmp_path / "gate"
    script = f"until [ -e {gate} ]; do sleep 0.05; done"
    for daemon in fleet:
        daemon.drop("wider", an_experiment(script, high=19, more=GRID, count=first.count_file("wider")))
    for daemon in fleet:
        daemon.until_running(2)
    held = {trial["params"]["x"] for trial in first.trials("wider")}
    answer = first.tunectl("import", "wider", str(file))
    assert (answer.returncode, answer.stderr) == (0, "")
    gate.touch()
    for daemon in fleet:
        daemon.until_in("done", "wider")
    evaluated = sorted(int(x) for x in first.evaluations("wider").elements())
    assert evaluated == sorted({*range(10, 20), *map(int, held)})
    assert first.summary("wider")["visited"] == 20
