"""The connection to the database: its engine, its transactions, its tables and their version.

Every transaction of the daemon goes through ``Database.transaction`` or ``Database.reading``. Whatever says
that the database is away or busy becomes DatabaseAway here, so that callers have one thing to wait for.
Nothing here needs state of a session: a pooler in transaction mode may stand in between.
"""

from __future__ import annotations

import contextlib
import os
import socket
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Float,
    Integer,
    Select,
    Table,
    bindparam,
    create_engine,
    event,
    exists,
    func,
    select,
    true,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from tuned import schema
from tuned.errors import Conflict, DatabaseAway, NotFound

#: Connections that one daemon holds at most; as many threads call the database (see ``link``).
MOST_CONNECTIONS = 5

#: How long a statement waits for someone else's lock, and how long a frozen client may keep one.
LOCK_SECONDS = 5

#: Key of the advisory lock under which tables are made and migrated.
MIGRATION_LOCK = 0x74756E6564


class epoch(GenericFunction[float]):  # noqa: N801 (SQL functions are written in lower case)
    """Now, in seconds since 1970, by the database's clock."""

    type = Float(53)
    inherit_cache = True


@compiles(epoch, "postgresql")
def _epoch_postgresql(*_: Any, **__: Any) -> str:
    # Not now(): that is when the transaction began, which may be long before a lock was given.
    return "extract(epoch FROM clock_timestamp())::double precision"


@compiles(epoch, "sqlite")
def _epoch_sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class next_trial_id(GenericFunction[int]):  # noqa: N801
    """The id that a new trial gets. To be asked for only under its study's lock."""

    type = Integer()
    inherit_cache = True


@compiles(next_trial_id, "postgresql")
def _next_postgresql(*_: Any, **__: Any) -> str:
    return "nextval(pg_get_serial_sequence('trials', 'trial_id'))"


@compiles(next_trial_id, "sqlite")
def _next_sqlite(*_: Any, **__: Any) -> str:
    # As SQLite itself does where ids are not marked AUTOINCREMENT.
    return "(SELECT coalesce(max(trial_id), 0) + 1 FROM trials)"


class Database:
    """One database that holds Optuna's tables and ours."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self.is_postgresql = self.engine.dialect.name == "postgresql"
        #: To a server; closed ones may be among them.
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        if self.is_postgresql:
            event.listen(self.engine, "connect", self._remember)

    def close(self) -> None:
        self.engine.dispose()

    def cut(self) -> None:
        """Ends all connections to a server, so that no thread waits any longer for one that hangs."""
        for connection in [each for each in self._connections if not each.closed]:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A writing transaction: committed at the end of the block, rolled back by an exception.

        Raises DatabaseAway when the database cannot be reached, is shutting down, or does not give a
        lock or a connection in time. The outcome of a commit may be unknown then.
        """
        with _away(), self.engine.begin() as connection:
            if self.is_postgresql:
                connection.execute(_LOCAL_TIMEOUTS)
            yield connection

    @contextlib.contextmanager
    def locking(self, table: Table, study_id: int) -> Iterator[Connection]:
        """As ``transaction``, but begins with the lock on a study's row in ``table``: studies or t_study.

        Raises NotFound if there is no such row, or if ours was left by a deleted study that had this id.
        """
        with _away(), self.engine.begin() as connection:
            lock = _LOCKS[table.name, self.is_postgresql]
            if connection.execute(lock, {"study_id": study_id}).first() is None:
                raise NotFound("the study is no longer in the database")
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and on SQLite waits for nobody. Raises DatabaseAway."""
        with _away(), self.engine.connect() as connection:
            reader = connection.execution_options(tuned_reads=True)
            with reader.begin():
                yield reader

    def ping(self) -> None:
        """Raises DatabaseAway if the database does not answer."""
        with self.reading() as connection:
            connection.execute(select(1))

    def prepare(self) -> None:
        """Creates the tables where they are missing and brings ours to this version.

        Raises Conflict if the database was made by a newer tuned or another Optuna, DatabaseAway if
        it cannot be reached.
        """
        with self.transaction() as connection:
            if self.is_postgresql:
                # Optuna creates its tables on connections of its own; this keeps other daemons out meanwhile.
                connection.execute(_MIGRATION_TIMEOUT)
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                self._prepare_optuna()
                _migrate(connection)
        if not self.is_postgresql:
            # SQLite has one writer: Optuna's transactions cannot run inside of ours.
            with _away():
                self._prepare_optuna()
            with self.transaction() as connection:
                _migrate(connection)

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


#: Our transaction is idle while Optuna makes its tables, which may take long on a busy server.
_MIGRATION_TIMEOUT = select(func.set_config("idle_in_transaction_session_timeout", "5min", True))


def _lock(table: Table, *, is_postgresql: bool) -> Select[Any]:
    of_study = (table.c.study_id == bindparam("study_id")) & exists().where(
        schema.t_study.c.study_id == table.c.study_id, schema.UID_KEPT
    )
    if not is_postgresql:
        return select(table.c.study_id).where(of_study)
    # A row to be locked comes out of the join, so the time limits hold before anything is waited for.
    limits = _LOCAL_TIMEOUTS.cte("limits").prefix_with("MATERIALIZED")
    row = select(table.c.study_id).select_from(table.join(limits, true())).where(of_study)
    return row.with_for_update(of=table, key_share=True)


_LOCKS = {
    (table.name, is_postgresql): _lock(table, is_postgresql=is_postgresql)
    for table in (schema.studies, schema.t_study)
    for is_postgresql in (True, False)
}

Migration = Callable[[Connection], None]


def _first(connection: Connection) -> None:
    schema.metadata.create_all(connection)
    for statement in schema.TRIAL_INDEXES:
        connection.execute(statement)


#: ``MIGRATIONS[n]`` brings our tables from version n to version n + 1.
MIGRATIONS: tuple[Migration, ...] = (_first,)


def _migrate(connection: Connection) -> None:
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


#: A server that vanished without a word is noticed within seconds, not after the system's two hours.
_LIBPQ = {
    "connect_timeout": LOCK_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "tuned",
}


def _engine(url: str) -> Engine:
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        url, pool_size=MOST_CONNECTIONS, max_overflow=0, pool_timeout=LOCK_SECONDS, pool_recycle=1800,
        connect_args=_LIBPQ,
    )  # fmt: skip


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own idea of when a transaction begins is switched off: _begin_sqlite says it.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: what is told is on disk before the outbox forgets it.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("tuned_reads", False)
    # IMMEDIATE takes the writer's lock at once: a reader that turns writer half-way would be refused.
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


#: SQLSTATE classes that pass: connection lost, insufficient resources, operator intervention,
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
    # Without a SQLSTATE the server said nothing: it cannot be reached. SQLite: locked, disk full, I/O error.
    return isinstance(error, OperationalError)


def _reason(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return f"the database does not answer: {lines[0] if lines else type(error.orig).__name__}"


def affected(result: Any) -> int:
    """How many rows an UPDATE or DELETE met."""
    return int(result.rowcount)


def is_below(count: ColumnElement[int], limit: ColumnElement[int]) -> ColumnElement[bool]:
    return limit.is_(None) | (count < limit)
