"""Our programs in the Python of an experiment, which has neither our package nor a library of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import pythons
from tests.integration.worker.channels import ends
from tests.integration.worker.servers import fork, give, server
from tuned.worker import bootstrap
from tuned.worker.channel import ASK
from tuned.worker.forkserver import IMPORTED, MESSAGE_BYTES, READY

pytestmark = pytest.mark.usefixtures("_subreaper")

SPACE = json.dumps({
    "x": {"type": "int", "low": 0, "high": 9, "step": 1, "log": False},
    "rate": {"type": "float", "low": 0.5, "high": 2.0, "log": True},
    "kind": {"type": "categorical", "choices": ["a", True], "when": "x = 3"},
    "gone": {"type": "float", "low": 0.0, "high": 1.0, "log": False, "when": 'kind = "a"'},
})  # fmt: skip

POINT = {
    "TUNED_PARAMS": '{"x": 3, "rate": 1.5, "kind": true}', "TUNED_TRIAL": "7", "TUNED_EXPERIMENT": "exp",
}  # fmt: skip

#: All that a trial has without Optuna.
OBJECTIVE = """
import sys, warnings

def refused(error, call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except error as found:
        return str(found)
    raise AssertionError(call)

for name in ("optuna", "structlog", "channel"):
    refused(ModuleNotFoundError, __import__, name)

def objective(trial):
    assert (trial.suggest_int("x", 0, 9), trial.suggest_categorical("kind", ["a", True])) == (3, True)
    assert trial.suggest_loguniform("rate", 0.5, 2.0) == 1.5
    assert 'has it when kind = "a"' in refused(ValueError, trial.suggest_float, "gone", 0.0, 1.0)
    assert "which declares x, rate, kind, gone" in refused(ValueError, trial.suggest_int, "y", 0, 1)
    assert "the experiment file says low = 0" in refused(ValueError, trial.suggest_int, "x", 1, 9)
    assert "has no 'storage'" in refused(AttributeError, getattr, trial, "storage")
    assert "has no module optuna" in refused(ModuleNotFoundError, getattr, trial, "distributions")
    assert (trial.study.study_name, trial.study.best_value, trial.study.best_params) == ("exp", 2, {"x": 1})
    trial.set_constraint("latency", 1)
    trial.set_user_attr("python", list(sys.version_info[:2]))
    trial.report(0.5, 1)
    trial.study.stop()
    raise trial.TrialPruned()
"""

TOLD = [
    ASK, {"constraints": {"latency": 1.0}}, {"user_attrs": {"python": [3, 0]}}, {"step": 1, "value": 0.5},
    {"stop": True}, {"pruned": [0.5]},
]  # fmt: skip

BEST = {"number": 0, "values": [2.0], "params": {"x": 1}, "user_attrs": {}, "constraints": {}}


def told_by(version: str) -> list[object]:
    python = {"user_attrs": {"python": [int(part) for part in version.split(".")]}}
    return [python if isinstance(each, dict) and "user_attrs" in each else each for each in TOLD]


def arguments(directory: Path, body: str = OBJECTIVE) -> tuple[str, ...]:
    (directory / "train.py").write_text(body)
    return "train:objective", str(directory), SPACE, '["minimize"]'


@pytest.mark.parametrize("version", pythons.VERSIONS)
def test_a_trial_is_forked_in_a_python_without_anything_of_ours(tmp_path: Path, version: str) -> None:
    python = pythons.environment(tmp_path / "venv", version)
    program = (str(python), bootstrap.__file__, "warm_objective", *arguments(tmp_path))
    with server(*program, PYTHONPATH="") as (daemon, _), ends() as both:
        assert [daemon.recv(MESSAGE_BYTES) for _ in range(2)] == [IMPORTED, READY]
        both.answer([BEST])
        [pid], [trial] = fork(daemon, 1)
        give(trial, tmp_path / "output", reports=both.theirs.fileno(), environment=POINT)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, (tmp_path / "output").read_text()
        assert both.told() == told_by(version)


@pytest.mark.parametrize("version", pythons.VERSIONS)
def test_a_trial_imports_for_itself_in_a_python_without_anything_of_ours(
    tmp_path: Path, version: str
) -> None:
    python = pythons.environment(tmp_path / "venv", version)
    with ends() as both:
        both.answer([BEST])
        done = as_a_trial(python, "objective", *arguments(tmp_path), reports=both.theirs.fileno())
        assert (done.returncode, done.stderr) == (0, "")
        assert both.told() == told_by(version)


def as_a_trial(python: Path, *words: str, reports: int) -> subprocess.CompletedProcess[str]:
    """A program whose descriptor of that name is this one."""
    command = ["bash", "-c", f'exec "$@" 3<&{reports}', "bash", str(python), bootstrap.__file__, *words]
    environment = {**os.environ, **POINT, "PYTHONPATH": ""}
    return subprocess.run(
        command, env=environment, pass_fds=(reports,), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("version", pythons.VERSIONS)
def test_only_rooms_of_the_worker_and_the_standard_library_are_there(tmp_path: Path, version: str) -> None:
    python = pythons.environment(tmp_path / "venv", version)
    shown = f"""
import runpy, sys, sysconfig
sys.argv = ["bootstrap"]
runpy.run_path({bootstrap.__file__!r}, run_name="__main__")
print(*(name for name in sys.modules if name.startswith("tuned")), file=sys.stderr)
library = sysconfig.get_path("stdlib")
files = (getattr(module, "__file__", None) or library for module in sys.modules.values())
print(*(file for file in files if not file.startswith(library)), file=sys.stderr)
"""
    done = subprocess.run([python, "-Ic", shown], capture_output=True, text=True, check=True)
    ours, others = done.stderr.splitlines()
    assert done.stdout == f"{version}\n"
    assert {name for name in ours.split() if not name.startswith("tuned.worker.")} == {
        "tuned", "tuned.worker", "tuned.domain", "tuned.domain.attributes", "tuned.domain.constraints",
        "tuned.domain.counts",
    }  # fmt: skip
    package = Path(bootstrap.__file__).parents[1]
    assert [file for file in others.split() if not Path(file).is_relative_to(package)] == []


def test_it_writes_no_bytecode_of_another_python_into_our_package(tmp_path: Path) -> None:
    python = pythons.environment(tmp_path / "venv")
    # Others that run beside this test may write bytecode of their own where ours would lie.
    written = tmp_path / "bytecode"
    subprocess.run(
        [python, bootstrap.__file__], check=True, capture_output=True,
        env={**os.environ, "PYTHONPYCACHEPREFIX": str(written)},
    )  # fmt: skip
    assert not list(written.rglob("declared.*.pyc"))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("sys.version_info = (3, 8, 18, 'final', 0)", "found Python 3.8.18, expected CPython 3.9 or newer"),
        ("sys.implementation.name = 'pypy'", "found pypy 3.{minor}.{micro}, expected CPython 3.9 or newer"),
    ],
)
def test_a_python_that_will_not_do_is_told_so(changed: str, expected: str) -> None:
    script = f"import runpy, sys\n{changed}\nrunpy.run_path({bootstrap.__file__!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    version = {"minor": sys.version_info.minor, "micro": sys.version_info.micro}
    assert (done.returncode, done.stderr.strip()) == (1, expected.format(**version))


def test_a_module_finds_what_it_would_find_with_its_directory_as_the_working_directory(
    tmp_path: Path,
) -> None:
    (tmp_path / "beside.py").write_text("")
    body = "import beside, sys\ndef objective(trial): return len(sys.argv)"
    (tmp_path / "train.py").write_text(body)
    words = (bootstrap.__file__, "objective", "train:objective", "", SPACE, '["minimize"]')
    with ends() as both:
        command = ["bash", "-c", f'exec "$@" 3<&{both.theirs.fileno()}', "bash", sys.executable, *words]
        subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **POINT}, pass_fds=(both.theirs.fileno(),), check=True
        )
        assert both.told() == [{"values": [1.0]}]
