"""The connection to the database: its engine, its transactions, its tables and their version.

Every transaction of the daemon goes through ``Database.transaction``, ``Database.locking`` or
``Database.reading``. They turn each error of a database that is away or busy into DatabaseAway, so that
callers handle one exception. This module must never depend on session state, because a pooler in transaction
mode may stand in between.
"""

from __future__ import annotations

import contextlib
import os
import socket
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Connection, Select, Table, bindparam, event, exists, func, select, true
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tuned.errors import Conflict, DatabaseAway, NotFound
from tuned.storage.engine import LOCK_SECONDS, make_engine
from tuned.storage.tables import schema
from tuned.storage.tables.migrations import MIGRATION_TIMEOUT, migrate

#: Key of the advisory lock under which tables are made and migrated.
MIGRATION_LOCK = 0x74756E6564


class Database:
    """One database that holds Optuna's tables and ours."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        self.is_postgresql = self.engine.dialect.name == "postgresql"
        #: Connections to a server. Some of them may be closed.
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        if self.is_postgresql:
            event.listen(self.engine, "connect", self._remember)

    def close(self) -> None:
        self.engine.dispose()

    def cut(self) -> None:
        """Shuts down all connections to a server, so that no thread keeps waiting for one that hangs."""
        for connection in [each for each in self._connections if not each.closed]:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A writing transaction: the end of the block commits it, and an exception rolls it back.

        Raises DatabaseAway if the database cannot be reached, is shutting down, or does not grant a lock or a
        connection in time. The outcome of a commit may be unknown then.
        """
        with _away(), self.engine.begin() as connection:
            if self.is_postgresql:
                connection.execute(_LOCAL_TIMEOUTS)
            yield connection

    @contextlib.contextmanager
    def locking(self, table: Table, study_id: int) -> Iterator[Connection]:
        """As ``transaction``, but first locks a study's row in ``table``: studies or t_study.

        Raises NotFound if there is no such row, or if a deleted study with this id left ours behind.
        """
        with _away(), self.engine.begin() as connection:
            lock = _LOCKS[table.name, self.is_postgresql]
            if connection.execute(lock, {"study_id": study_id}).first() is None:
                raise NotFound("the study is no longer in the database")
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads. On SQLite it waits for no other transaction. Raises DatabaseAway."""
        with _away(), self.engine.connect() as connection:
            reader = connection.execution_options(tuned_reads=True)
            with reader.begin():
                yield reader

    def ping(self) -> None:
        """Raises DatabaseAway if the database does not answer."""
        with self.reading() as connection:
            connection.execute(select(1))

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
                self._prepare_optuna()
                migrate(connection)
        if not self.is_postgresql:
            # SQLite has one writer, so Optuna's transactions cannot run inside of ours.
            with _away():
                self._prepare_optuna()
            with self.transaction() as connection:
                migrate(connection)

    def _remember(self, connection: Any, _record: Any) -> None:
        self._connections.add(connection)

    def _prepare_optuna(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                storage = RDBStorage(self.url)
            storage.engine.dispose()
        except RuntimeError as error:
            raise Conflict(
                f"cannot use the database: its tables are not those of Optuna {optuna.__version__}: {error}"
            ) from None


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
    if not is_postgresql:
        return select(table.c.study_id).where(of_study)
    # The locked row comes out of the join, so the timeouts are set before the statement waits.
    limits = _LOCAL_TIMEOUTS.cte("limits").prefix_with("MATERIALIZED")
    row = select(table.c.study_id).select_from(table.join(limits, true())).where(of_study)
    return row.with_for_update(of=table, key_share=True)


_LOCKS = {
    (table.name, is_postgresql): _lock(table, is_postgresql=is_postgresql)
    for table in (schema.studies, schema.t_study)
    for is_postgresql in (True, False)
}


#: SQLSTATE classes of transient errors: connection lost, insufficient resources, operator intervention,
#: deadlock and serialization, lock not available, idle transaction ended, read-only after a failover.
_PASSING = ("08", "53", "57", "40", "55P03", "25P03", "25006")


@contextlib.contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except PoolTimeout:
        raise DatabaseAway("all connections to the database are in use") from None
    except DBAPIError as error:
        if not _passes(error):
            raise
        raise DatabaseAway(_reason(error)) from error
    except optuna.exceptions.StorageInternalError as error:
        raise DatabaseAway(f"the database does not answer: {error.__cause__ or error}") from error


def _passes(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "pgcode", None)
    if state is not None:
        return str(state).startswith(_PASSING)
    # Without a SQLSTATE the server cannot be reached. On SQLite: locked, disk full, I/O error.
    return isinstance(error, OperationalError)


def _reason(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return f"the database does not answer: {lines[0] if lines else type(error.orig).__name__}"
