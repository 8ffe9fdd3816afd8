"""Python objectives in the Python of their experiment, at the real daemon."""

from __future__ import annotations

import shutil
import textwrap
from contextlib import suppress
from pathlib import Path

from optuna.trial import TrialState

from tests import pythons
from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, checked
from tests.waiting import until
from tuned.errors import TunedError

OBJECTIVE = """
import os, sys

IMPORTED = os.getpid()

def objective(trial):
    try:
        import optuna
    except ModuleNotFoundError:
        trial.set_user_attr("python", "%d.%d" % sys.version_info[:2])
        trial.set_user_attr("pids", [IMPORTED, os.getpid()])
    return 2 * trial.params["x"]
"""

#: The fourth trial takes its own Python away, and crashes.
BREAKS = """
import os

def objective(trial):
    if trial.number == 3:
        os.rename(os.environ["VENV"], os.environ["VENV"] + ".away")
        os._exit(1)
    return 1
"""


def experiment(module: Path, body: str, python: Path, *, xs: int, more: str = "") -> str:
    module.mkdir(exist_ok=True)
    (module / "train.py").write_text(textwrap.dedent(body))
    return checked(
        f'[objective]\npython = "train:objective"\npath = "{module}"\ninterpreter = "{python}"\n{more}\n'
        f'[space.x]\ntype = "int"\nlow = 0\nhigh = {xs}\n[sampler]\nname = "grid"\n'
    )


def until_note(daemon: Daemon, name: str, wanted: str) -> None:
    """Until it rests here for this reason."""

    def is_so() -> bool:
        with suppress(TunedError):
            return wanted in daemon.summary(name)["note"]
        return False

    until(is_so, what=f"the note {wanted!r}", seconds=60)


def states(daemon: Daemon, name: str) -> list[TrialState]:
    return [trial.state for trial in daemon.study(name).trials]


def test_trials_are_forked_in_the_python_of_their_experiment(
    make: MakeDaemon, database_url: str, tmp_path: Path
) -> None:
    daemon = make(storage=database_url).start()
    versions = ("3.9", "3.13")
    for number, version in enumerate(versions):
        python = pythons.environment(tmp_path / version, version)
        daemon.drop(f"e{number}", experiment(tmp_path / "m", OBJECTIVE, python, xs=99))
    for number, version in enumerate(versions):
        daemon.until_in("done", f"e{number}")
        trials = daemon.study(f"e{number}").trials
        assert [trial.value for trial in trials] == [2 * trial.params["x"] for trial in trials]
        assert {trial.user_attrs["python"] for trial in trials} == {version}
        # One process imported, and each trial is another one.
        assert len({pid for trial in trials for pid in trial.user_attrs["pids"]}) == 101


def test_without_its_python_an_experiment_rests_and_costs_no_point(
    make: MakeDaemon, database_url: str, tmp_path: Path
) -> None:
    daemon = make(storage=database_url).start()
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    daemon.drop("rests", experiment(tmp_path / "m", BREAKS, python, xs=9, more=f'env.VENV = "{venv}"'))
    missing = f"objective.interpreter: cannot run '{python}': there is no such file"
    until_note(daemon, "rests", missing)
    # While it is tried again there is no reason to show.
    until(lambda: missing in daemon.tunectl("status").stdout, what="the reason in the status", seconds=60)
    assert states(daemon, "rests") == []
    pythons.environment(venv)
    until((tmp_path / "venv.away").exists, what="the interpreter to be gone", seconds=60)
    until_note(daemon, "rests", missing)
    shutil.move(tmp_path / "venv.away", venv)
    daemon.until_in("done", "rests")
    trials = daemon.study("rests").trials
    assert [trial.value for trial in trials].count(1.0) == 10
    failures = [trial.user_attrs["FAILURE"] for trial in trials if trial.state is TrialState.FAIL]
    assert {failure["cause"] for failure in failures} == {"aborted"}
    assert all(missing in failure["message"] for failure in failures)


def test_a_host_without_the_python_leaves_the_trials_to_the_others(
    make: MakeDaemon, postgresql_url: str, tmp_path: Path
) -> None:
    one, other = (make(host, storage=postgresql_url, host=host).start() for host in ("alpha", "beta"))
    python = pythons.environment(tmp_path / "venv", "3.9")
    one.drop("shared", experiment(tmp_path / "m", OBJECTIVE, tmp_path / "none", xs=19))
    until_note(one, "shared", "there is no such file")
    other.drop("shared", experiment(tmp_path / "m", OBJECTIVE, python, xs=19))
    other.until_in("done", "shared")
    one.until_in("done", "shared")
    assert states(other, "shared") == [TrialState.COMPLETE] * 20
    assert {trial["host"] for trial in other.trials("shared")} == {"beta"}
