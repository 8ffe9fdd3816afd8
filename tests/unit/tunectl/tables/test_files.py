"""Tables have the columns of Optuna's dataframe, and come back from each format."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState, create_trial

from tuned.errors import InvalidInput, TunedError
from tuned.protocol.tables import ExportedTrial
from tuned.tunectl.tables import files
from tuned.tunectl.tables.files import FORMATS, Format

FLOATS = optuna.distributions.FloatDistribution(0, 1)
CHOICES = optuna.distributions.CategoricalDistribution(["a", True, 2.5])


def a_trial(number: int = 0, **changes: object) -> ExportedTrial:
    trial = ExportedTrial(
        number=number,
        state="COMPLETE",
        values=[0.25],
        started="2025-01-31T12:00:00.250000+00:00",
        ended="2025-02-01T13:01:30.500000+00:00",
        params={"lr": 0.5, "kind": "a"},
        constraints={},
        user_attrs={"HOST": '{"host": "alpha"}', "note": '"b,c\\n\\"d\\""'},
    )
    trial.update(changes)  # type: ignore[typeddict-item]
    return trial


@pytest.mark.parametrize("objectives", [1, 12])
def test_the_columns_are_those_of_optunas_dataframe(objectives: int) -> None:
    study = optuna.create_study(directions=["minimize"] * objectives)
    params = {"lr": 0.5, "kind": "a"}
    values = [0.25] * objectives
    attributes = {"note": 1}
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"FAILURE": 1}))
    study.add_trial(
        create_trial(
            params=params,
            distributions={"lr": FLOATS, "kind": CHOICES},
            values=values,
            user_attrs=attributes,
            constraints={"latency": 1.0},
        )
    )
    frame = study.trials_dataframe()
    rows = [
        files.row_of(trial, has_one_objective=objectives == 1)
        for trial in (
            a_trial(0, state="FAIL", values=None, params={}, user_attrs={"FAILURE": "1"}),
            a_trial(1, values=values, user_attrs={"note": "1"}, constraints={"latency": 1.0}),
        )
    ]
    assert files.columns_of(rows) == list(frame.columns)


def test_pandas_reads_a_csv_file_as_it_was() -> None:
    rows = [files.row_of(a_trial(), has_one_objective=True)]
    frame = pd.read_csv(io.BytesIO(files.written(rows, "csv")), parse_dates=["datetime_start"])
    assert pd.to_timedelta(frame["duration"])[0] == pd.Timedelta(days=1, seconds=3690, milliseconds=250)
    assert frame["datetime_start"][0] == pd.Timestamp("2025-01-31 12:00:00.25", tz="UTC")
    assert (frame["user_attrs_note"][0], json.loads(frame["user_attrs_HOST"][0])) == (
        'b,c\n"d"',
        {"host": "alpha"},
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_comes_back(kind: Format, tmp_path: Path) -> None:
    kinds = ["a", True, 2.5]
    rows = [
        files.row_of(a_trial(n, params={"lr": 0.5, "kind": k}), has_one_objective=True)
        for n, k in enumerate(kinds)
    ]
    path = tmp_path / f"trials.{kind.upper()}"
    path.write_bytes(files.written(rows, kind))
    assert files.format_of(path) == kind
    found = files.read(path)
    assert [str(each.row["params_kind"]) for each in found] == ["a", "True", "2.5"]
    assert [float(str(each.row["value"])) for each in found] == [0.25] * 3
    assert "2025-01-31" in str(found[0].row["datetime_start"])


def test_trials_without_values_have_empty_columns() -> None:
    rows = [files.row_of(a_trial(state="RUNNING", values=None, ended=None), has_one_objective=True)]
    assert (
        files.written(rows, "csv").splitlines()[1].startswith(b"0,2025-01-31 12:00:00.250000+00:00,,,a,0.5")
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"number,value\n\xff,1\n", "expected a CSV file in UTF-8"),
        ("a.csv", b'number,value\n"1,1\n', "expected a CSV file in UTF-8"),
        ("a.jsonl", b"{}\n[1]\n", "line 2: found no JSON object, expected a row as one"),
        ("a.jsonl", b"{}\n" + b"[" * 100_000, "line 2: found no JSON object"),
        ("a.parquet", b"PAR", "expected a Parquet file"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        files.read(path)


def test_a_byte_order_mark_and_an_index_of_pandas_are_no_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf,number,value\n0,5,0.5\n")
    assert [(each.place, each.row) for each in files.read(path)] == [
        ("line 2", {"number": "5", "value": "0.5"})
    ]


def test_parquet_without_its_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TunedError, match="the package pyarrow is not installed beside tuned"):
        files.written([], "parquet")
