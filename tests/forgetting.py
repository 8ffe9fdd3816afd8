"""A database that forgets its last transactions, as after a failover to an asynchronous standby."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import cast

from optuna.storages._rdb import models
from sqlalchemy import insert, text

from tuned.storage.database import Database
from tuned.storage.tables import schema

_TABLES = (*models.BaseModel.metadata.sorted_tables, *schema.metadata.sorted_tables)


@contextmanager
def forgotten(database: Database) -> Iterator[None]:
    """All that is committed meanwhile is forgotten at the end, and ids are given again."""
    with _forgotten_postgresql(database) if database.is_postgresql else _forgotten_sqlite(database):
        yield


@contextmanager
def _forgotten_sqlite(database: Database) -> Iterator[None]:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as kept:
        with closing(database.engine.raw_connection()) as line:
            cast("sqlite3.Connection", line.driver_connection).backup(kept)
        yield
        with closing(database.engine.raw_connection()) as line:
            kept.backup(cast("sqlite3.Connection", line.driver_connection))


@contextmanager
def _forgotten_postgresql(database: Database) -> Iterator[None]:
    with database.transaction() as connection:
        rows = {table: connection.execute(table.select()).mappings().all() for table in _TABLES}
        last = "SELECT last_value, is_called FROM trials_trial_id_seq"
        number, is_called = connection.execute(text(last)).one()
    yield
    with database.transaction() as connection:
        # No trigger and no foreign key looks at what comes back.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in _TABLES:
            connection.execute(table.delete())
            if rows[table]:
                connection.execute(insert(table), [dict(row) for row in rows[table]])
        again = text("SELECT setval('trials_trial_id_seq', :number, :is_called)")
        connection.execute(again, {"number": number, "is_called": is_called})
