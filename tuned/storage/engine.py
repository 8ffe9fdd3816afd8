"""engine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

#: Connections that one daemon holds at most; as many threads call the database (see ``link``).
MOST_CONNECTIONS = 5


#: How long a statement waits for someone else's lock, and how long a frozen client may keep one.
LOCK_SECONDS = 5


#: A server that vanished without a word is noticed within seconds, not after the system's two hours.
_LIBPQ = {
    "connect_timeout": LOCK_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "tuned",
}


def make_engine(url: str) -> Engine:
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
