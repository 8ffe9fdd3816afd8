"""Python objectives at the real daemon: a fork server per experiment, which comes and goes with its work."""

from __future__ import annotations

import os
import signal
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, checked, is_alive
from tests.waiting import until
from tuned.errors import TunedError


class Module:
    """A module with an objective, and the experiment that evaluates it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    def write(self, body: str) -> None:
        imports = str(self.directory / "imports")
        counted = f"with open({imports!r}, 'a') as file:\n    print(os.getpid(), file=file)\n"
        (self.directory / "train.py").write_text(f"import os, sys, time\n{counted}{textwrap.dedent(body)}")

    def experiment(self, *, xs: int = 1, objective: str = "", more: str = "") -> str:
        return checked(
            f'[objective]\npython = "train:objective"\npath = "{self.directory}"\n{objective}\n'
            f'[space.x]\ntype = "int"\nlow = 0\nhigh = {xs - 1}\n[sampler]\nname = "grid"\n{more}'
        )

    def imports(self) -> list[int]:
        """The processes that imported it."""
        file = self.directory / "imports"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def file(self, name: str) -> Path:
        return self.directory / name


@pytest.fixture
def module(tmp_path: Path) -> Module:
    return Module(tmp_path / "module")


@pytest.fixture(params=["tuned", "tests.acceptance.groupless"], ids=["cgroup", "best-effort"])
def either(request: pytest.FixtureRequest, make: MakeDaemon) -> Daemon:
    """A host with two slots, once with each isolation (if there are control groups)."""
    daemon = make()
    daemon.module = request.param
    return daemon.start()


def test_the_hosts_of_these_tests_differ_in_their_isolation(either: Daemon) -> None:
    if either.module != "tuned":
        assert either.status()["isolation"] == "best-effort"


#: Says that it runs, and waits until it may go on.
WAITING = """
def objective(trial):
    open(os.path.join(os.path.dirname(__file__), f"begun-{trial.number}"), "w").close()
    while not os.path.exists(os.path.join(os.path.dirname(__file__), "go")):
        time.sleep(0.01)
    return 1
"""


def test_one_import_serves_all_trials_and_is_gone_when_they_are(shared: Daemon, module: Module) -> None:
    module.write("""
        def objective(trial):
            trial.set_user_attr("pid", os.getpid())
            trial.report(trial.suggest_int("x", 0, 19), 1)
            return 1
    """)
    shared.run("forked", module.experiment(xs=20))
    trials = shared.study("forked").trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 20
    assert all(trial.intermediate_values == {1: trial.params["x"]} for trial in trials)
    [imported] = module.imports()
    assert len({imported, *(trial.user_attrs["pid"] for trial in trials)}) == 21
    until(lambda: not is_alive(imported), what="the server to end")


def test_without_fork_each_trial_imports_for_itself(shared: Daemon, module: Module) -> None:
    module.write("def objective(trial): return os.getpid()")
    shared.run("cold", module.experiment(xs=3, objective="fork = false"))
    values = [trial.value for trial in shared.study("cold").trials]
    assert sorted(module.imports()) == sorted(values)  # type: ignore[type-var]


def test_the_server_has_none_of_the_daemons_secrets(make: MakeDaemon, module: Module) -> None:
    daemon = make()
    daemon.environment = {"PGPASSWORD": "sesame", "SEEN": "yes"}
    daemon.start()
    module.write("""
        SEEN, SECRET = os.environ["SEEN"], os.environ.get("PGPASSWORD")
        def objective(trial):
            assert (SEEN, SECRET, "PGPASSWORD" in os.environ) == ("yes", None, False)
            return 1
    """)
    daemon.run("secret", module.experiment())
    assert daemon.study("secret").trials[0].state is TrialState.COMPLETE


def test_an_experiment_does_not_wait_for_the_import_of_another(shared: Daemon, module: Module) -> None:
    go = module.file("go")
    module.write(f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\ndef objective(trial): return 1")
    shared.drop("slow", module.experiment())
    until(module.imports, what="the import to begin", seconds=60)
    command = '[objective]\ncommand = ["echo", "1"]\n[space.x]\ntype = "int"\nlow = 0\nhigh = 3\n'
    shared.run("other", checked(command))
    go.touch()
    shared.until_in("done", "slow")


def test_an_abort_leaves_nothing(either: Daemon, module: Module) -> None:
    module.write(WAITING)
    either.drop("aborted", module.experiment(xs=4))
    until(module.file("begun-1").exists, what="two trials to run", seconds=60)
    assert either.abort() == 0
    assert either.processes() == set()
    failures = [trial.user_attrs["FAILURE"]["cause"] for trial in either.study("aborted").trials]
    assert failures == ["aborted"] * 2


def test_an_abort_while_it_imports_leaves_nothing(either: Daemon, module: Module) -> None:
    module.write("time.sleep(600)")
    either.drop("importing", module.experiment(xs=4))
    until(module.imports, what="the import to begin", seconds=60)
    assert either.abort() == 0
    assert either.processes() == set()


def test_what_a_killed_daemon_left_is_gone_after_the_next_start(either: Daemon, module: Module) -> None:
    module.write(WAITING)
    either.drop("killed", module.experiment(xs=4))
    until(module.file("begun-1").exists, what="two trials to run", seconds=60)
    left = either.trial_processes()
    either.kill()
    either.start()
    until(lambda: not any(map(is_alive, left)), what="them to be gone", seconds=60)
    module.file("go").touch()
    either.until_in("done", "killed")
    states = [trial.state for trial in either.study("killed").trials]
    assert states.count(TrialState.COMPLETE) == 4


def test_a_drain_leaves_nothing(daemon: Daemon, module: Module) -> None:
    module.write(WAITING)
    daemon.drop("drained", module.experiment(xs=9))
    until(module.file("begun-1").exists, what="two trials to run", seconds=60)
    daemon.signal(signal.SIGINT)
    daemon.until_state("draining")
    module.file("go").touch()
    assert daemon.wait() == 0
    assert daemon.processes() == set()
    assert [trial.value for trial in daemon.study("drained").trials] == [1.0, 1.0]


def test_a_pause_ends_the_server_and_what_runs_goes_on(daemon: Daemon, module: Module) -> None:
    module.write(WAITING)
    daemon.drop("paused", module.experiment(xs=9))
    until(module.file("begun-1").exists, what="two trials to run", seconds=60)
    [server] = module.imports()
    assert daemon.tunectl("pause", "paused").returncode == 0
    until(lambda: not is_alive(server), what="the server to end")
    assert daemon.running() == 2
    # Python compares the size of the source, and its time in whole seconds.
    module.write("def objective(trial): return 22.5")
    module.file("go").touch()
    until(lambda: daemon.running() == 0, what="the trials to end")
    assert daemon.tunectl("resume", "paused").returncode == 0
    daemon.until_in("done", "paused")
    values = [trial.value for trial in daemon.study("paused").trials]
    assert values == [1.0, 1.0, *[22.5] * 7]
    assert len(module.imports()) == 2


def test_a_server_that_was_killed_is_made_anew(daemon: Daemon, module: Module) -> None:
    module.write(WAITING)
    daemon.drop("replaced", module.experiment(xs=9))
    until(module.file("begun-1").exists, what="two trials to run", seconds=60)
    os.kill(module.imports()[0], signal.SIGKILL)
    module.file("go").touch()
    daemon.until_in("done", "replaced")
    assert [trial.value for trial in daemon.study("replaced").trials] == [1.0] * 9
    assert len(module.imports()) == 2


def rest(daemon: Daemon, name: str) -> str:
    """Why the search does nothing more on this host, once that is so."""

    def note() -> str:
        with suppress(TunedError):
            return daemon.summary(name)["note"]
        return ""

    return until(note, what="the search to rest", seconds=60)


def test_a_module_that_cannot_be_forked_is_imported_by_each_trial(daemon: Daemon, module: Module) -> None:
    module.write("""
        from threading import Event, Thread
        Thread(target=Event().wait, name="feeder", daemon=True).start()
        def objective(trial):
            while trial.number == 3 and not os.path.exists(os.path.join(os.path.dirname(__file__), "go")):
                time.sleep(0.01)
            return os.getpid()
    """)
    daemon.drop("unforkable", module.experiment(xs=4))
    assert rest(daemon, "unforkable") == (
        "each trial imports train:objective anew, because it cannot be forked: its import leaves threads "
        "running (feeder)"
    )
    module.file("go").touch()
    daemon.until_in("done", "unforkable")
    values = {trial.value for trial in daemon.study("unforkable").trials}
    assert len(values) == 4
    assert values < set(module.imports())
    told = [each for each in daemon.logged() if each["event"] == "trials import their module one by one"]
    assert len(told) == 1


def test_objectives_prune_their_points_and_end_the_search(daemon: Daemon, module: Module) -> None:
    module.write("""
        import optuna
        def objective(trial):
            x = trial.suggest_int("x", 0, 99)
            if trial.number == 15:
                trial.set_user_attr("best", [trial.study.best_value, trial.study.best_trial.number])
                trial.study.stop()
            if trial.number != 5:
                print(77)
                raise optuna.TrialPruned
            return x
    """)
    daemon.run("pruned", module.experiment(xs=100))
    summary = daemon.summary("pruned")
    assert "stopped by trial 15 on " in (summary["ended_by"] or "")
    assert (summary["note"], summary["counts"]["complete"], summary["counts"]["failed"]) == ("", 1, 0)
    trials = daemon.study("pruned").trials
    assert [trial.state for trial in trials].count(TrialState.PRUNED) == len(trials) - 1 < 99
    assert trials[15].user_attrs["best"] == [trials[5].value, 5]
    assert "Ended by" in daemon.tunectl("show", "pruned").stdout


def test_an_import_that_fails_fails_its_trials_and_is_tried_again(shared: Daemon, module: Module) -> None:
    module.write("import no_such_module")
    shared.drop("broken", module.experiment(xs=30))
    assert rest(shared, "broken").startswith(
        "never succeeded: 5 evaluations in a row failed alike (exit status 1:"
    )
    failures = [t.user_attrs["FAILURE"] for t in shared.study("broken").trials if "FAILURE" in t.user_attrs]
    assert {failure["cause"] for failure in failures} == {"exit"}
    assert {failure["message"] for failure in failures} == {
        "exit status 1: ModuleNotFoundError: No module named 'no_such_module'"
    }
    assert "Traceback" in shared.tunectl("logs", "broken", "3").stdout
    assert len(module.imports()) >= 5
    module.write("def objective(trial): return 1")
    assert shared.tunectl("resume", "broken").returncode == 0
    shared.until_in("done", "broken")
    assert shared.study("broken").trials[-1].value == 1.0
