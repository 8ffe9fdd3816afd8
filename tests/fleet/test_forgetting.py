"""A fleet whose database lost its last transactions: no value at a wrong point, and nothing runs for ever."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from tests.fleet.hosts import Fleet, query
from tests.fleet.ledger import Ledger
from tests.fleet.test_outages import Gate
from tests.postgres import PostgresServer
from tests.waiting import until

#: Daemons start slowly on a busy machine.
pytestmark = pytest.mark.timeout(300)

LINE = '[space.x]\ntype = "int"\nlow = 0\nhigh = 99999\n[sampler]\nname = "random"\n'


def running(fleet: Fleet) -> list[tuple[object, ...]]:
    return query(fleet.storage, "SELECT trial_id FROM trials WHERE state = 'RUNNING' ORDER BY trial_id")


def is_right(fleet: Fleet) -> bool:
    """Each value is that of its point, and nothing runs."""
    trials = [trial for trial in fleet.study("exp").get_trials(deepcopy=False) if trial.values]
    return [t.value for t in trials] == [t.params["x"] * 3 + 1 for t in trials] and not running(fleet)


def test_an_id_that_is_given_again_gets_no_value_of_the_trial_that_was_forgotten(
    exposed: Fleet, server: PostgresServer, ledger: Ledger, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    wait = f"until [ -e {gate} ] || [ -e {gate}-$TUNED_HOST-$TUNED_TRIAL ]; do sleep 0.1; done; echo 0"
    search = LINE + "[budget]\ntrials = 5\n"
    old, new = exposed.start(2, slots=1)
    for host in (old, new):
        host.drop("exp", ledger.objective(pause=wait) + search)
    until(lambda: ledger.count() == 2, what="each host to evaluate", seconds=60)
    server.keep_copy()
    for number in range(2):
        Path(f"{gate}-{old.name}-{number}").touch()
    until(lambda: ledger.count() == 3, what="a claim that will be forgotten", seconds=60)
    old.freeze()
    server.fall_back()
    for number in range(2):
        Path(f"{gate}-{new.name}-{number}").touch()
    until(lambda: ledger.count() == 4, what="the id to be given again", seconds=60)
    old.thaw()
    gate.touch()
    exposed.until_done("exp")
    until(lambda: is_right(exposed), what="values of their own points", seconds=30)


def test_a_tell_that_was_forgotten_is_told_again_and_the_experiment_ends_again(
    exposed: Fleet, server: PostgresServer, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    [host] = exposed.start(1, slots=2)
    host.drop("exp", ledger.objective(pause=gate.pause) + LINE + "[budget]\ntrials = 2\n")
    until(lambda: ledger.count() == 2, what="both points to be evaluated", seconds=60)
    server.keep_copy()
    gate.open()
    exposed.until_done("exp")
    server.fall_back()
    assert len(running(exposed)) == 2
    until(lambda: running(exposed) == [], what="the results to be told again", seconds=60)
    assert is_right(exposed)
    done = "SELECT state FROM t_study"
    until(lambda: query(exposed.storage, done) == [("done",)], what="the experiment to end again", seconds=60)
    assert ledger.count() == 2


def copied(source: Path, target: Path) -> None:
    """As SQLite's own ``.backup`` and ``.restore`` do it, whoever uses the files."""
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target, timeout=30)) as there:
        here.backup(there)


def put_back(source: Path, target: Path) -> None:
    """As a person does it with ``cp``, which keeps the inode of the file."""
    for beside in ("-wal", "-shm"):
        target.with_name(f"{target.name}{beside}").unlink(missing_ok=True)
    shutil.copyfile(source, target)


@pytest.mark.parametrize("is_running", [True, False])
def test_an_sqlite_file_that_is_restored_in_its_place_gets_what_it_forgot(
    ledger: Ledger, tmp_path: Path, is_running: bool
) -> None:
    gate, file, backup = Gate(tmp_path / "gate"), tmp_path / "h0/state/tuned.db", tmp_path / "backup"
    with Fleet(tmp_path, f"sqlite:///{file}") as fleet:
        [host] = fleet.start(1, slots=2)
        host.drop("exp", ledger.objective(pause=gate.pause) + LINE + "[budget]\ntrials = 4\n")
        until(lambda: ledger.count() == 2, what="two points to be evaluated", seconds=60)
        copied(file, backup)
        gate.open()
        fleet.until_done("exp")
        told = {each.x for each in ledger.evaluations("exp")}
        if is_running:
            copied(backup, file)
        else:
            host.terminate()
            assert host.wait() == 0
            put_back(backup, file)
            host.start()
        until(
            lambda: points_with_values(fleet) >= told,
            what="the forgotten results to be told again",
            seconds=60,
        )
    # A slot of a running daemon may draw a forgotten point again before the host notices.
    assert is_running or ledger.count() == 4


def points_with_values(fleet: Fleet) -> set[int]:
    trials = fleet.study("exp").get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    assert all(t.value == t.params["x"] * 3 + 1 for t in trials)
    return {t.params["x"] for t in trials}
