"""The Python of an experiment file, as ``try`` and ``check`` see it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import pythons
from tests.acceptance.daemon import TUNECTL

EXAMPLE = Path(__file__).parents[3] / "examples" / "interpreter"


class Reader:
    """Somebody in a directory with an experiment file and its module."""

    def __init__(self, here: Path, python: Path) -> None:
        self.here = here
        (here / "train.py").write_text("import sys\ndef objective(trial): return sys.version_info[1]\n")
        objective = f'[objective]\npython = "train:objective"\npath = "{here}"\ninterpreter = "{python}"\n'
        space = '[space.x]\ntype = "int"\nlow = 3\nhigh = 3\n'
        (here / "exp.toml").write_text(f"{objective}{space}")

    def runs(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*TUNECTL, command, "exp.toml"], cwd=self.here, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_a_try_runs_in_it(tmp_path: Path, version: str) -> None:
    reader = Reader(tmp_path, pythons.environment(tmp_path / "venv", version))
    done = reader.runs("try")
    assert done.returncode == 0, done.stderr
    assert f"COMPLETE value {version.removeprefix('3.')}" in done.stderr
    checked = reader.runs("check").stdout
    assert f"train:objective in {tmp_path}/venv/bin/python" in checked
    assert "warning:" not in checked


def test_the_example_runs_in_the_oldest_python(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    pythons.environment(tmp_path / ".venv", "3.9")
    text = (tmp_path / "interpreter.toml").read_text().replace("/srv/line", str(tmp_path))
    (tmp_path / "exp.toml").write_text(text)
    command = [*TUNECTL, "try", "exp.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "COMPLETE value" in done.stderr, done.stderr


def test_one_that_will_not_do_is_told_with_the_reason(tmp_path: Path) -> None:
    reader, problem = Reader(tmp_path, tmp_path / "none"), "objective.interpreter: cannot run"
    done = reader.runs("try")
    assert done.returncode == 1
    assert f"FAIL exit: {problem} '{tmp_path}/none': there is no such file" in done.stderr
    checked = reader.runs("check")
    assert checked.returncode == 0
    assert f"warning: {problem} '{tmp_path}/none'" in checked.stdout
