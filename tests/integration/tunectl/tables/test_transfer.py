"""Tables on their way between files, other studies and the daemon."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pandas as pd

from tests.integration.tunectl.running import tunectl
from tests.small_host import SmallHost


async def test_an_export_has_all_pages(host: SmallHost, path: Path, tmp_path: Path) -> None:
    host.all_trials *= 5
    for number, trial in enumerate(host.all_trials):
        host.all_trials[number] = {**trial, "number": number}
    file = tmp_path / "minima.csv"
    assert await tunectl(path, "export", "minima", "-o", str(file)) == (0, "", "")
    frame = pd.read_csv(file)
    assert list(frame["number"]) == list(range(1250))
    assert list(frame["user_attrs_note"].unique()) == ["sesame"]


async def test_standard_output_gets_csv_unless_told_otherwise(host: SmallHost, path: Path) -> None:
    host.all_trials = host.all_trials[:1]
    _, csv, _ = await tunectl(path, "export", "minima")
    _, lines, _ = await tunectl(path, "export", "minima", "--format", "jsonl")
    assert csv.startswith("number,value,datetime_start,")
    assert json.loads(lines)["params_optimizer"] == "adam"


async def test_only_complete_rows_are_sent_and_the_rest_is_told(
    host: SmallHost, path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "minima.csv"
    file.write_text("number,value,params_lr,state\n0,0.5,1,COMPLETE\n1,,2,FAIL\n2,0.25,3,COMPLETE\n")
    status, out, err = await tunectl(path, "import", "minima", str(file))
    assert out == "minima: 1 imported, 0 known already, 1 does not fit, 1 without a value left out\n"
    assert (status, err) == (1, f"tunectl: {file}: line 4 does not fit: no lr\n")
    assert [json.loads(line)["number"] for line in host.imported.splitlines()] == ["0", "2"]


async def test_a_study_of_optuna_elsewhere_is_read(host: SmallHost, path: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'older.db'}"
    study = optuna.create_study(storage=url, study_name="older")

    def objective(trial: optuna.Trial) -> float:
        trial.set_constraint("latency", 3.5 - trial.number)
        return trial.suggest_float("lr", 0, 1)

    study.optimize(objective, n_trials=2)
    status, out, _ = await tunectl(path, "import", "minima", "--study", "older", "--storage", url)
    assert (status, out.partition(",")[0]) == (1, "minima: 1 imported")
    rows = [json.loads(line) for line in host.imported.splitlines()]
    assert [row["params_lr"] for row in rows] == [trial.params["lr"] for trial in study.trials]
    assert [row["value"] for row in rows] == [trial.value for trial in study.trials]
    assert [row["system_attrs_constraints:latency"] for row in rows] == [3.5, 2.5]


async def test_a_study_of_the_same_database_comes_over_the_socket(host: SmallHost, path: Path) -> None:
    host.all_trials = host.all_trials[:2]
    status, out, _ = await tunectl(path, "import", "minima", "--study", "minima")
    assert (status, out.partition(",")[0]) == (1, "minima: 1 imported")
    assert json.loads(host.imported.splitlines()[0])["params_minima_size"] == 16


async def test_a_study_that_cannot_be_read_is_one_line_without_its_password(
    host: SmallHost, path: Path, tmp_path: Path
) -> None:
    for url, reason in {
        f"sqlite:///{tmp_path / 'none.db'}": "the storage has no study of this name",
        "postgresql://ann:sesame@127.0.0.1:1/none": "Connection refused",
        "nonsense": "found no URL of a database",
    }.items():
        status, out, err = await tunectl(path, "import", "minima", "--study", "older", "--storage", url)
        assert (status, out, reason in err, "sesame" in err) == (1, "", True, False), err
        assert err.startswith("tunectl: cannot read study older: ")
        assert host.imported == b""
