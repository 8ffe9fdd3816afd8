"""The migrations of our tables to this version, each at most once, in the caller's transaction.

Owns the tables' version. It must never touch Optuna's rows, or migrate a database to an older version.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, func, select

from tuned.errors import Conflict
from tuned.storage.tables import schema

#: Our transaction is idle while Optuna creates its tables, and that may take long on a busy server.
MIGRATION_TIMEOUT = select(func.set_config("idle_in_transaction_session_timeout", "5min", True))

Migration = Callable[[Connection], None]


def _first(connection: Connection) -> None:
    schema.metadata.create_all(connection)
    for statement in schema.TRIAL_INDEXES:
        connection.execute(statement)
    if connection.dialect.name == "sqlite":
        connection.execute(schema.SQLITE_TRIGGER)


#: ``MIGRATIONS[n]`` migrates our tables from version n to version n + 1.
MIGRATIONS: tuple[Migration, ...] = (_first,)


def migrate(connection: Connection) -> None:
    schema.t_meta.create(connection, checkfirst=True)
    version_row = schema.t_meta.c.name == "version"
    found = connection.execute(select(schema.t_meta.c.value).where(version_row)).scalar()
    version = int(found or 0)
    if version > schema.VERSION:
        raise Conflict(
            f"cannot use the database: its tuned tables have version {version}, this daemon knows up to "
            f"{schema.VERSION}; install the newer tuned here too"
        )
    for migration in MIGRATIONS[version:]:
        migration(connection)
    if found is None:
        connection.execute(schema.t_meta.insert().values(name="version", value=str(schema.VERSION)))
    elif version < schema.VERSION:
        connection.execute(schema.t_meta.update().where(version_row).values(value=str(schema.VERSION)))
