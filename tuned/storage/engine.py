"""The engine that speaks to one database: how many connections, what they wait for, how SQLite begins.

Owns what is set once per engine or connection. It runs no statement of ours, and must not set anything that a
session would keep: a pooler in transaction mode may stand in between.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

#: Threads that call the database, and so connections, by their purpose: a sampler that thinks long must not
#: hold up a tell, and nothing must hold up the beat.
DRAW_THREADS = 2
CALL_THREADS = 2
BEAT_THREADS = 1

#: Connections that one daemon holds at most.
MOST_CONNECTIONS = DRAW_THREADS + CALL_THREADS + BEAT_THREADS

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
