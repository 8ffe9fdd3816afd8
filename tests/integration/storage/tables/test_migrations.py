"""Tables of an older version are migrated, and those of another one refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from optuna.storages._rdb import models

from tests.factories import at_once, join, make_experiment, opened
from tests.fleet.hosts import Fleet, query
from tuned.storage.database import Database
from tuned.storage.tables import migrations, schema


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


def test_tables_that_were_just_made_are_not_looked_at_for_their_version(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, load = [], ScriptDirectory.from_config

    def note(config: Config) -> ScriptDirectory:
        loads.append(config)
        return load(config)

    monkeypatch.setattr(ScriptDirectory, "from_config", note)
    RDBStorage(database_url).engine.dispose()
    by_optuna = len(loads)
    database = Database(database_url)
    with database.engine.begin() as connection:
        models.BaseModel.metadata.drop_all(connection)
        connection.execute(sqlalchemy.text("DROP TABLE alembic_version"))
    database.prepare()
    database.close()
    assert len(loads) - by_optuna == by_optuna - 1
    RDBStorage(database_url).engine.dispose()


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
