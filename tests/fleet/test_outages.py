"""A fleet while its database is away: nobody dies, nothing is lost, a stop is still a stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from optuna.trial import TrialState
from sqlalchemy import text

from tests.acceptance.daemon import all_processes
from tests.fleet.hosts import EXPIRE_SECONDS, Fleet, FleetHost, connect, query
from tests.fleet.ledger import Evaluation, Ledger, now
from tests.fleet.verdict import cause_of, host_of
from tests.fleet.wire import wired_to
from tests.postgres import PostgresServer
from tests.small_disk import small_disk
from tests.waiting import until
from tuned.errors import DatabaseAway
from tuned.storage.database import Database

#: Daemons start slowly on a busy machine.
pytestmark = pytest.mark.timeout(300)

GRID = '[space.x]\ntype = "int"\nlow = 0\nhigh = 3\n[sampler]\nname = "grid"\n'


class Gate:
    """Holds back all evaluations of an experiment until it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pause = f"until [ -e {path} ]; do sleep 0.1; done; echo 0"

    def open(self) -> None:
        self.path.touch()


def begun(fleet: Fleet, ledger: Ledger, gate: Gate, *, evaluations: int = 4) -> None:
    """The fleet evaluates all that it may, and waits for the gate."""
    fleet.drop("exp", ledger.objective(pause=gate.pause) + GRID)
    until(
        lambda: len(ledger.evaluations("exp")) == evaluations, what="all points to be evaluated", seconds=60
    )


def is_away(host: FleetHost) -> bool:
    return not host.status()["database"]["reachable"]


def until_away(fleet: Fleet) -> None:
    until(lambda: all(map(is_away, fleet.hosts)), what="the hosts to miss the database", seconds=60)


def until_waiting(host: FleetHost, results: int) -> None:
    until(lambda: host.status()["database"]["pending_results"] == results, what="results to wait", seconds=60)


def once_each(ledger: Ledger) -> list[Evaluation]:
    evaluations = ledger.evaluations("exp")
    assert sorted(evaluation.x for evaluation in evaluations) == [0, 1, 2, 3]
    return evaluations


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """A server that neither answers nor closes its connections."""
    frozen = [server.pid]
    # First the one that begins and ends the others.
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for pid in [pid for pid in all_processes() if is_of(server, pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                frozen.append(pid)
        yield
    finally:
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def is_of(server: PostgresServer, pid: int) -> bool:
    try:
        status = Path("/proc", str(pid), "status").read_text()
    except OSError:
        return False
    return pid == server.pid or f"PPid:\t{server.pid}\n" in status


def freeze_in_transaction(database: Database, meanwhile: Callable[[], None]) -> None:
    """As a host that is frozen in the middle of a claim: it keeps the locks, and then cannot commit."""
    with database.transaction() as connection:
        connection.execute(text("SELECT 1 FROM studies FOR UPDATE"))
        connection.execute(text("SELECT 1 FROM t_study FOR UPDATE"))
        meanwhile()


def crowded_out(server: PostgresServer, others: ExitStack, master: Any) -> bool:
    """Cuts the daemon off and takes all places; whether it was kept from coming back in between."""
    tuned = "FROM pg_stat_activity WHERE application_name = 'tuned'"
    master.execute(f"SELECT pg_terminate_backend(pid) {tuned}")
    with suppress(psycopg2.OperationalError):
        while True:
            others.enter_context(closing(connect(server.url())))
    master.execute(f"SELECT count(*) {tuned}")
    return bool(master.fetchone() == (0,))


def test_an_outage_longer_than_expire_kills_nobody_and_loses_nothing(
    exposed: Fleet, server: PostgresServer, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    hosts = exposed.start(2)
    begun(exposed, ledger, gate)
    server.stop()
    stopped = now()
    until_away(exposed)
    for host in hosts:
        [seen] = host.status()["experiments"]
        assert (seen["name"], "not counted" in seen["note"]) == ("exp", True)
    gate.open()
    for host in hosts:
        until_waiting(host, 2)
    until(lambda: now() - stopped > EXPIRE_SECONDS + 1, what="beats to be missed for longer than expire")
    server.start()
    exposed.until_done("exp")
    once_each(ledger)
    trials = exposed.study("exp").get_trials(deepcopy=False)
    assert [trial.value for trial in trials] == [trial.params["x"] * 3 + 1 for trial in trials]
    for host in hosts:
        ended = [record["trial"] for record in host.logged() if record["event"] == "trial complete"]
        told = sorted((t.datetime_complete, t.number) for t in trials if host_of(t) == host.name)
        assert ended == [trial for _, trial in told]


def test_all_connections_cut_at_once_change_nothing(fleet: Fleet, ledger: Ledger) -> None:
    fleet.start(2)
    file = ledger.objective(pause="echo 0.3") + GRID.replace("high = 3", "high = 19")
    fleet.drop("exp", file)
    for part in range(1, 5):
        until(lambda n=4 * part: len(ledger.evaluations("exp")) >= n, what="evaluations", seconds=60)  # type: ignore[misc]
        fleet.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    fleet.until_done("exp")
    assert sorted(e.x for e in ledger.evaluations("exp")) == list(range(20))
    assert {t.state for t in fleet.study("exp").get_trials(deepcopy=False)} == {TrialState.COMPLETE}


def test_a_server_without_free_connections_is_waited_for(
    exposed: Fleet, server: PostgresServer, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    [host] = exposed.start(1, slots=4)
    begun(exposed, ledger, gate)
    with ExitStack() as others:
        session = others.enter_context(closing(connect(server.url())))
        session.autocommit = True
        master = others.enter_context(session.cursor())
        until(lambda: crowded_out(server, others, master), what="all places to be taken", seconds=60)
        until_away(exposed)
        gate.open()
        until_waiting(host, 4)
    exposed.until_done("exp")
    once_each(ledger)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_of_the_server_holds_results_up_and_loses_none(ledger: Ledger, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    with (
        small_disk(megabytes=400) as disk,
        PostgresServer(below=disk.path) as server,
        Fleet(tmp_path, server.create_database()) as fleet,
    ):
        hosts = fleet.start(2)
        begun(fleet, ledger, gate)
        disk.fill()
        # The first value ever told needs the first page of its table.
        gate.open()
        for host in hosts:
            until_waiting(host, 2)
            until(lambda host=host: "No space left" in host.log.read_text(), what="the reason to be told")  # type: ignore[misc]
        disk.clear()
        fleet.until_done("exp")
        assert [trial.state for trial in fleet.study("exp").trials] == [TrialState.COMPLETE] * 4
    once_each(ledger)


def test_a_lock_on_the_studys_row_holds_results_up_and_loses_none(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    [host] = fleet.start(1, slots=4)
    begun(fleet, ledger, gate)
    with closing(connect(fleet.storage)) as other, other.cursor() as cursor:
        cursor.execute("SELECT 1 FROM t_study FOR UPDATE")
        gate.open()
        until_waiting(host, 4)
        # It is for longer than lock_timeout: the daemon gives up, says so, and tries again.
        until(lambda: any(r["event"] == "database away" for r in host.logged()), what="a lock", seconds=60)
    fleet.until_done("exp")
    once_each(ledger)


def test_a_host_frozen_in_a_transaction_holds_the_others_up_for_seconds(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    fleet.start(1, slots=4)
    begun(fleet, ledger, gate)

    def meanwhile() -> None:
        gate.open()
        fleet.until_done("exp")

    with closing(Database(fleet.storage)) as database, pytest.raises(DatabaseAway):
        freeze_in_transaction(database, meanwhile)
    once_each(ledger)


def test_a_host_that_is_told_to_stop_in_an_outage_stops_and_its_next_start_settles(
    exposed: Fleet, server: PostgresServer, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    [host] = exposed.start(1, slots=4)
    begun(exposed, ledger, gate)
    server.stop()
    until_away(exposed)
    host.terminate()
    assert host.wait(15) == 0
    assert not host.processes()
    gate.open()
    server.start()
    host.start()
    exposed.until_done("exp")
    trials = exposed.study("exp").get_trials(deepcopy=False)
    assert [cause_of(t) for t in trials] == ["lost"] * 4 + [None] * 4
    assert all(trial.state.is_finished() for trial in trials)


def test_a_database_that_hangs_does_not_keep_a_host_from_stopping(
    exposed: Fleet, server: PostgresServer, ledger: Ledger, tmp_path: Path
) -> None:
    [host] = exposed.start(1, slots=4)
    begun(exposed, ledger, Gate(tmp_path / "gate"))
    with frozen(server):
        host.terminate()
        assert host.wait(25) == 0
        assert not host.processes()


def test_results_of_a_host_stopped_in_an_outage_are_told_by_its_next_start(
    exposed: Fleet, server: PostgresServer, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    [host] = exposed.start(1, slots=4)
    begun(exposed, ledger, gate)
    server.stop()
    gate.open()
    until_waiting(host, 4)
    host.terminate()
    assert host.wait(15) == 0
    server.start()
    host.start()
    exposed.until_done("exp")
    once_each(ledger)
    assert query(exposed.storage, "SELECT count(*) FROM trials WHERE state = 'COMPLETE'") == [(4,)]


def test_a_host_with_many_slots_on_a_slow_line_beats_and_tells(tmp_path: Path, postgresql_url: str) -> None:
    ledger, unwanted = Ledger(tmp_path / "ledger"), {"database away", "host found dead"}
    near = FleetHost(tmp_path / "near", storage=postgresql_url, slots=1)
    with wired_to(postgresql_url) as wire, Fleet(tmp_path, wire.url) as fleet, closing(near):
        [far] = fleet.start(1, slots=24)
        near.start()
        for host in (far, near):
            host.until_joined()
        wire.delay_seconds = 0.1
        fleet.drop("exp", ledger.objective(pause="echo 0.2") + GRID.replace("high = 3", "high = 999"))
        told = "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
        # By then, looks that wait behind the claims of all slots would have come too late more than once.
        until(lambda: query(postgresql_url, told)[0][0] >= 20, what="results to be told", seconds=120)
        assert far.status()["database"]["pending_results"] <= 3
        assert {record["event"] for record in (*far.logged(), *near.logged())}.isdisjoint(unwanted)
        wire.delay_seconds = 0.0


def test_a_server_that_takes_no_writes_is_away_and_can_still_be_read(
    exposed: Fleet, server: PostgresServer, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    [host] = exposed.start(1, slots=4)
    begun(exposed, ledger, gate)

    def refuse_writes(setting: str) -> None:
        query(server.url(), f"ALTER SYSTEM SET default_transaction_read_only = {setting}")
        query(server.url(), "SELECT pg_reload_conf()")

    refuse_writes("on")
    try:
        until_away(exposed)
        gate.open()
        until_waiting(host, 4)
        assert "takes no writes" in str(host.status()["database"]["message"])
        assert host.summary("exp")["counts"]["running"] == 4
        assert [each["name"] for each in host.status()["experiments"]] == ["exp"]
    finally:
        refuse_writes("off")
    exposed.until_done("exp")
    once_each(ledger)
    assert [record["event"] for record in host.logged()].count("database away") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_told_once_with_its_own_advice_and_loses_nothing(
    ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    with small_disk(megabytes=24) as disk, closing(FleetHost(disk.path / "h0", storage="", slots=4)) as host:
        host.log = tmp_path / "daemon.log"
        # The process that daemons are forked from does not see what was mounted since.
        host.is_begun_anew = True
        host.start()
        host.drop("exp", ledger.objective(pause=gate.pause) + GRID)
        until(lambda: len(ledger.evaluations("exp")) == 4, what="all points to be evaluated", seconds=60)
        disk.fill()
        gate.open()
        until_waiting(host, 4)
        until(lambda: is_away(host), what="the disk to be found full", seconds=60)
        assert [each["name"] for each in host.status()["experiments"]] == ["exp"]
        assert "make room on the disk" in host.tunectl("doctor").stdout
        disk.clear()
        host.until_in("done", "exp", seconds=90)
        assert [record["event"] for record in host.logged()].count("database away") == 1
    once_each(ledger)


def test_a_database_file_that_is_gone_is_missed_and_gets_the_results_when_it_is_back(
    ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    with closing(FleetHost(tmp_path / "h0", storage="", slots=4)) as host:
        host.start()
        host.drop("exp", ledger.objective(pause=gate.pause) + GRID)
        until(lambda: len(ledger.evaluations("exp")) == 4, what="all points to be evaluated", seconds=60)
        file, elsewhere = host.state / "tuned.db", tmp_path / "elsewhere"
        file.rename(elsewhere)
        gate.open()
        until(lambda: is_away(host), what="the file to be missed", seconds=60)
        until_waiting(host, 4)
        assert "the database's file is gone" in host.tunectl("doctor").stdout
        assert not file.exists()
        elsewhere.rename(file)
        host.until_in("done", "exp", seconds=90)
        assert [trial["state"] for trial in host.trials("exp")] == ["COMPLETE"] * 4
    once_each(ledger)


def test_a_command_right_after_the_start_waits_for_the_database_and_says_so(
    exposed: Fleet, server: PostgresServer, ledger: Ledger, tmp_path: Path
) -> None:
    [host] = exposed.start(1, slots=4)
    begun(exposed, ledger, Gate(tmp_path / "gate"))
    host.terminate()
    host.wait(25)
    server.stop()
    host.start()
    refused = host.tunectl("--timeout", "2", "cancel", "exp")
    assert refused.returncode == 1
    assert "waiting up to 2 s: the database " in refused.stderr
    assert "(waited 2 s)" in refused.stderr
    with host.tunectl_started("--timeout", "50", "cancel", "exp") as waiting:
        server.start()
        assert waiting.wait(60) == 0
    host.until_in("cancelled", "exp")
