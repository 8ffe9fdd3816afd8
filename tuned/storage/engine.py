"""The engine of one database: the number and the timeouts of its connections, and how SQLite begins.

Owns the settings of an engine and of a connection. It must never run a statement of ours, or set anything on
a server's session, because a pooler in transaction mode may stand in between.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

#: Threads that call the database, each with one connection, by their purpose: a slow sampler must not delay a
#: tell, and nothing must delay the beat.
DRAW_THREADS = 2
CALL_THREADS = 2
BEAT_THREADS = 1

#: The most connections that one daemon holds.
MOST_CONNECTIONS = DRAW_THREADS + CALL_THREADS + BEAT_THREADS

#: How long a statement waits for another client's lock, and how long a frozen client may keep one.
LOCK_SECONDS = 5

#: The client notices within seconds that a server vanished, not after the system's two hours.
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
    # The driver must not begin transactions by itself: _begin_sqlite does.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: a told result is on disk before the outbox deletes it.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("tuned_reads", False)
    # IMMEDIATE takes the writer's lock at once, because SQLite may refuse to turn a reader into a writer.
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
