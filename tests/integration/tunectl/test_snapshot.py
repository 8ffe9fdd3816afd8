"""The snapshot that tunectl takes of the code of a file, and what it says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.disk.code import archive
from tuned.errors import InvalidInput
from tuned.experiment.experiment import Experiment, parse
from tuned.tunectl import snapshot


def an_experiment(code: Path) -> Experiment:
    (code / "sub").mkdir(parents=True)
    (code / "sub" / "run").write_text("1\n")
    text = f'[objective]\ncommand = ["sub/run"]\n[code]\ndir = "{code}"\nsetup = ["make", "all"]\n'
    return parse(f'{text}[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n'.encode(), "exp.toml")


def test_it_is_put_beside_the_file_whole(tmp_path: Path) -> None:
    experiment = an_experiment(tmp_path / "code")
    (tmp_path / "spool").mkdir()
    with snapshot.taken(experiment, "exp.toml") as taken:
        assert taken is not None
        taken.put(tmp_path / "spool", "exp")
        with (tmp_path / "spool" / "exp.code").open("rb") as put:
            assert archive.manifest_of(put, limit=100) == taken.manifest
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["exp.code"]


def test_it_is_described_and_unpacked_for_a_try(tmp_path: Path) -> None:
    experiment = an_experiment(tmp_path / "code")
    [code, setup] = snapshot.described(experiment, "exp.toml")
    assert code.startswith(f"code: 1 file, 2 bytes from {tmp_path}/code, snapshot ")
    assert setup == "set-up: make all, once on each host"
    placed = snapshot.unpacked(experiment, "exp.toml", tmp_path / "tree")
    assert (placed.tree, (tmp_path / "tree/sub/run").read_text()) == (str(tmp_path / "tree"), "1\n")


def test_code_that_is_on_another_host_is_not_described(tmp_path: Path) -> None:
    experiment = an_experiment(tmp_path / "code")
    (tmp_path / "code").rename(tmp_path / "elsewhere")
    assert list(snapshot.described(experiment, "exp.toml")) == []
    with pytest.raises(InvalidInput, match="no such directory"), snapshot.taken(experiment, "exp.toml"):
        pass


def test_a_wrong_directory_is_told_of_the_file(tmp_path: Path) -> None:
    experiment = an_experiment(tmp_path / "code")
    (tmp_path / "code" / "out").symlink_to("/")
    with (
        pytest.raises(InvalidInput, match=r"^my.toml: code.dir: found out: a link to '/'"),
        snapshot.taken(experiment, "my.toml"),
    ):
        pass
