"""The connection to the database: its engine, its transactions, its tables and their version.

Every transaction of the daemon goes through ``Database.transaction``, ``Database.locking`` or
``Database.reading``. They turn each error of a database that is away or busy into DatabaseAway, so that
callers handle one exception. This module must never depend on session state, because a pooler in transaction
mode may stand in between.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import (
    Connection,
    Row,
    Select,
    Table,
    bindparam,
    exists,
    func,
    inspect,
    make_url,
    select,
    true,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tuned.domain.news.notices import NO_WISHES
from tuned.errors import Conflict, DatabaseAway, NotFound
from tuned.storage.connection import faults
from tuned.storage.connection.engine import LOCK_SECONDS, make_engine
from tuned.storage.connection.server import Server
from tuned.storage.connection.sqlite_file import DatabaseFile
from tuned.storage.tables import schema, statements
from tuned.storage.tables.migrations import MIGRATION_TIMEOUT, migrate

#: Key of the advisory lock under which tables are made and migrated.
MIGRATION_LOCK = 0x74756E6564


class Database:
    """One database that holds Optuna's tables and ours."""

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = make_url(url)
        self.is_postgresql = parsed.get_backend_name() == "postgresql"
        self._server = Server(parsed) if self.is_postgresql else None
        self.engine = make_engine(parsed, self._server)
        #: The file of an embedded database on a disk.
        self._file: DatabaseFile | None = None
        self._has_tables = False
        #: Of what this host tells people, of studies that do not say it themselves.
        self.wishes = NO_WISHES
        if self._server is None and (path := parsed.database):
            self._file = DatabaseFile(self.engine, Path(path))

    @property
    def engine_options(self) -> dict[str, Any]:
        """For Optuna's engine on this database: it connects within our limits, and is cut with ours.

        Without them it would wait without end for a server that hangs.
        """
        return {} if self._server is None else {"creator": self._server.connect}

    def close(self) -> None:
        self.engine.dispose()

    def cut(self) -> None:
        """Shuts down all connections to a server, so that no thread keeps waiting for one that hangs."""
        if self._server is not None:
            self._server.cut()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A writing transaction: the end of the block commits it, and an exception rolls it back.

        Raises DatabaseAway if the database cannot be reached, is shutting down, or does not grant a lock or a
        connection in time. The outcome of a commit may be unknown then.
        """
        with self._access(), self.engine.begin() as connection:
            if self.is_postgresql:
                connection.execute(_LOCAL_TIMEOUTS)
            yield connection

    @contextlib.contextmanager
    def locking(self, table: Table, study_id: int) -> Iterator[Connection]:
        """As ``transaction``, but first locks a study's row in ``table``: studies or t_study.

        Raises NotFound if there is no such row, or if a deleted study with this id left ours behind.
        """
        with self._locking(table, study_id) as (connection, _):
            yield connection

    @contextlib.contextmanager
    def judging(self, study_id: int) -> Iterator[tuple[Connection, Row[Any]]]:
        """As ``locking`` of t_study, with the columns of the row that say how far the search is."""
        with self._locking(schema.t_study, study_id) as locked:
            yield locked

    @contextlib.contextmanager
    def _locking(self, table: Table, study_id: int) -> Iterator[tuple[Connection, Row[Any]]]:
        with self._access(), self.engine.begin() as connection:
            lock = _LOCKS[table.name, self.is_postgresql]
            row = statements.first(connection, lock, {"study_id": study_id})
            if row is None:
                raise NotFound("the study is no longer in the database")
            yield connection, row

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """For statements that only read. On SQLite they wait for no other transaction. Raises DatabaseAway.

        On PostgreSQL each statement is a transaction of its own. In one transaction each would see the tables
        at another moment too, and its begin and its end would cost two round trips more.
        """
        with self._access(), self.engine.connect() as connection:
            if self.is_postgresql:
                with _autocommit(connection):
                    yield connection
                return
            reader = connection.execution_options(tuned_reads=True)
            with reader.begin():
                yield reader

    def ping(self) -> None:
        """Raises DatabaseAway if the database does not answer, or takes no writes.

        Only a write shows that. It sets a value to itself, so that nothing is changed.
        """
        if not self._has_tables:
            with self.reading() as connection:
                connection.execute(select(1))
            return
        try:
            with self.transaction() as connection:
                version = schema.t_meta.c.name == "version"
                connection.execute(update(schema.t_meta).where(version).values(value=schema.t_meta.c.value))
        except DBAPIError as error:
            raise DatabaseAway(f"the database cannot be used: {error.orig}".strip()) from error

    def prepare(self) -> None:
        """Creates missing tables and migrates ours to this version.

        Raises Conflict if a newer tuned or another Optuna made the database, DatabaseAway if it cannot be
        reached.
        """
        with self.transaction() as connection:
            if self.is_postgresql:
                # Optuna creates its tables on its own connections. The lock keeps other daemons out
                # meanwhile.
                connection.execute(MIGRATION_TIMEOUT)
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                self._prepare_optuna(is_new=_is_new(connection))
                migrate(connection)
        if not self.is_postgresql:
            # SQLite has one writer, so Optuna's transactions cannot run inside of ours.
            with self.reading() as connection:
                is_new = _is_new(connection)
            with self._access():
                self._prepare_optuna(is_new=is_new)
            with self.transaction() as connection:
                migrate(connection)
        self._has_tables = True

    @contextlib.contextmanager
    def _access(self) -> Iterator[None]:
        """Raises DatabaseAway if the database's file is not there, and for each error that is its own."""
        if self._file is not None:
            self._file.check()
        try:
            yield
        except PoolTimeout:
            raise DatabaseAway("all connections to the database are in use") from None
        except DBAPIError as error:
            if (away := faults.away(error)) is None:
                raise
            raise away from error
        except optuna.exceptions.StorageInternalError as error:
            cause = error.__cause__
            away = faults.away(cause) if isinstance(cause, DBAPIError) else None
            if away is None:
                raise
            raise away from error

    def _prepare_optuna(self, *, is_new: bool) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # Each look at the version of its tables loads all of its migrations, and it just made these.
                options = self.engine_options
                storage = RDBStorage(self.url, engine_kwargs=options, skip_compatibility_check=is_new)
            storage.engine.dispose()
        except RuntimeError as error:
            raise Conflict(
                f"cannot use the database: its tables are not those of Optuna {optuna.__version__}: {error}"
            ) from None


def _is_new(connection: Connection) -> bool:
    """Whether Optuna has no tables there."""
    return not inspect(connection).has_table(schema.studies.name)


@contextlib.contextmanager
def _autocommit(connection: Connection) -> Iterator[None]:
    """By the driver's own switch, because SQLAlchemy's asks the server to change the session."""
    line: Any = connection.connection.dbapi_connection
    line.autocommit = True
    try:
        yield
    finally:
        if not line.closed:
            line.autocommit = False


_LOCAL_TIMEOUTS = select(
    *(
        func.set_config(name, f"{LOCK_SECONDS}s", True).label(name)
        for name in ("lock_timeout", "idle_in_transaction_session_timeout")
    )
)


def _lock(table: Table, *, is_postgresql: bool) -> Select[Any]:
    of_study = (table.c.study_id == bindparam("study_id")) & exists().where(
        schema.t_study.c.study_id == table.c.study_id, schema.UID_KEPT
    )
    columns = [table.c[name] for name in (schema.PROGRESS if table is schema.t_study else ("study_id",))]
    if not is_postgresql:
        return select(*columns).where(of_study)
    # The locked row comes out of the join, so the timeouts are set before the statement waits.
    limits = _LOCAL_TIMEOUTS.cte("limits").prefix_with("MATERIALIZED")
    row = select(*columns).select_from(table.join(limits, true())).where(of_study)
    return row.with_for_update(of=table, key_share=True)


_LOCKS = {
    (table.name, is_postgresql): _lock(table, is_postgresql=is_postgresql)
    for table in (schema.studies, schema.t_study)
    for is_postgresql in (True, False)
}
