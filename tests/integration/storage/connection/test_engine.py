"""A host holds few connections, and needs no session of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fleet.hosts import Fleet, query
from tests.fleet.ledger import Ledger
from tests.pgbouncer import PROGRAM, SERVER_CONNECTIONS, pgbouncer
from tests.waiting import until
from tuned.storage.connection.engine import MOST_CONNECTIONS, expected_of

GRID = '[space.x]\ntype = "int"\nlow = 0\nhigh = 39\n[sampler]\nname = "grid"\n'


#: Client connections to the tests' database, but for the one that asks.
CLIENTS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def test_a_host_under_load_holds_no_more_connections_than_documented(
    tmp_path: Path, postgresql_url: str, ledger: Ledger
) -> None:
    with Fleet(tmp_path, postgresql_url) as fleet:
        [host] = fleet.start(1, slots=8)
        host.until_joined()
        fleet.drop("exp", ledger.objective(pause="echo 0.02") + GRID)
        seen = []
        while host.place_of("exp") != "done":
            seen.append(fleet.query(CLIENTS)[0][0])
            host.status()
    assert 1 < max(seen) <= MOST_CONNECTIONS
    assert f"at most {MOST_CONNECTIONS} connections" in Path("docs/explanation/scale.md").read_text()


@pytest.mark.skipif(PROGRAM is None and "CI" not in os.environ, reason="pgbouncer is not installed")
def test_hosts_share_the_connections_of_a_pooler_in_transaction_mode(
    tmp_path: Path, postgresql_url: str, ledger: Ledger
) -> None:
    with pgbouncer(postgresql_url) as pooled, Fleet(tmp_path, pooled) as fleet:
        fleet.start(2, slots=4)
        fleet.drop("exp", ledger.objective(pause="echo 0.02") + GRID)
        until(lambda: ledger.evaluations("exp"), what="the first evaluation", seconds=60)
        assert query(postgresql_url, CLIENTS)[0][0] <= SERVER_CONNECTIONS
        fleet.until_done("exp")
    assert sorted(e.x for e in ledger.evaluations("exp")) == list(range(40))


@pytest.mark.parametrize("query", ["", "?sslmode=require&target_session_attrs=read-write", "?service=tuned"])
def test_options_that_the_driver_knows_are_taken(tmp_path: Path, query: str) -> None:
    assert expected_of(f"postgresql+psycopg2://u@h/d{query}", tmp_path) == ""


def test_an_option_that_the_driver_does_not_know_is_named(tmp_path: Path) -> None:
    assert "sslmod" in expected_of("postgresql+psycopg2://h/d?sslmod=require", tmp_path)


def test_a_file_that_can_be_no_database_is_told_and_one_that_is_to_be_made_is_not(tmp_path: Path) -> None:
    other = tmp_path / "notes"
    other.write_text("these are notes and no database")
    assert "something else" in expected_of(f"sqlite:///{other}", tmp_path)
    assert "not a directory" in expected_of(f"sqlite:///{tmp_path}", tmp_path)
    assert str(tmp_path / "gone") in expected_of(f"sqlite:///{tmp_path}/gone/tuned.db", tmp_path)
    assert expected_of(f"sqlite:///{tmp_path}/state/tuned.db", tmp_path / "state") == ""
    assert expected_of(f"sqlite:///{tmp_path}/tuned.db", tmp_path / "state") == ""
