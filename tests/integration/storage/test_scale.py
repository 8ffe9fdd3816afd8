"""What the fleet asks of its database: few connections, indexed statements, no session, its own tables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import event

from tests.factories import MIXED, Member, at_once, join, make_experiment, opened
from tests.fleet.hosts import Fleet, connect, query
from tests.fleet.ledger import Ledger
from tests.pgbouncer import PROGRAM, SERVER_CONNECTIONS, pgbouncer
from tests.waiting import until
from tuned.storage import migrations, schema
from tuned.storage.database import Database
from tuned.storage.engine import MOST_CONNECTIONS
from tuned.storage.settling import orphaned_studies, settle_own

GRID = '[space.x]\ntype = "int"\nlow = 0\nhigh = 39\n[sampler]\nname = "grid"\n'

#: Client connections to the tests' database, but for the one that asks.
CLIENTS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def member(postgresql_url: str) -> Iterator[Member]:
    with opened(postgresql_url) as database:
        yield join(database, make_experiment(space=MIXED))


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


def test_claim_tell_and_settlement_look_things_up_by_index(member: Member) -> None:
    sent: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(member.database.engine, "before_cursor_execute", listen)
    point: dict[str, Any] = {"size": 1, "rate": 0.2, "kind": "a"}
    member.tell(member.take(**point), 0.5)
    member.repeat(**point)
    member.take(**{**point, "size": 2})
    settle_own(member.database, member.status.study_id, member.claimant.incarnation, but_not=())
    orphaned_studies(member.database)
    member.now()
    event.remove(member.database.engine, "before_cursor_execute", listen)
    plans = {statement: plan(member.database.url, statement, given) for statement, given in sent}
    # A planner that shall not read whole tables does it only where no index serves; the hosts are few.
    assert {s: p for s, p in plans.items() if re.search(r"Seq Scan on (?!t_host\b)", p)} == {}
    assert any("Index" in p for p in plans.values())


def plan(url: str, statement: str, parameters: Any) -> str:
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
            cursor.execute(f"EXPLAIN {statement}", parameters)
            return "\n".join(line for (line,) in cursor.fetchall())
    finally:
        connection.close()


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


def test_tables_of_an_older_version_are_migrated_once_however_many_hosts_start(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(postgresql_url) as database:
        member = join(database, make_experiment())
        member.evaluate(1, 0.5)
    steps: list[object] = []

    def second(connection: sqlalchemy.Connection) -> None:
        steps.append(connection)
        connection.execute(sqlalchemy.text("ALTER TABLE t_host ADD COLUMN color TEXT"))

    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, second))
    hosts = [Database(postgresql_url) for _ in range(3)]
    at_once(*(host.prepare for host in hosts))
    for host in hosts:
        host.close()
    assert len(steps) == 1
    assert query(postgresql_url, "SELECT value FROM t_meta WHERE name = 'version'") == [
        (str(schema.VERSION),)
    ]
    assert query(postgresql_url, "SELECT count(color), count(*) FROM t_host") == [(0, 1)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "UPDATE t_meta SET value = '99' WHERE name = 'version'",
            "its tuned tables have version 99, this daemon knows up to",
        ),
        ("UPDATE alembic_version SET version_num = 'v2.6.0.a'", "its tables are not those of Optuna"),
        ("UPDATE alembic_version SET version_num = 'v99.0.0.a'", "its tables are not those of Optuna"),
    ],
)
def test_a_database_of_another_version_is_refused_in_one_line(
    tmp_path: Path, postgresql_url: str, change: str, message: str
) -> None:
    with opened(postgresql_url):
        pass
    query(postgresql_url, change)
    with Fleet(tmp_path, postgresql_url) as fleet:
        [host] = fleet.add(1)
        host.launch()
        assert host.wait(60) == 1
        [line] = [line for line in host.log.read_text().splitlines() if line.startswith("tuned: ")]
    assert line.startswith("tuned: cannot use the database: ")
    assert message in line
