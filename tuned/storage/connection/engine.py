"""The engine of one database: its URL, the number of its connections, how SQLite begins.

Owns the settings of an engine. It must never run a statement of ours, or set anything on a server's session,
because a pooler in transaction mode may stand in between.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from tuned.storage.connection import faults
from tuned.storage.connection.server import Server

#: Threads that call the database, each with one connection, by their purpose: a slow sampler must not delay a
#: tell, and nothing must delay the beat.
DRAW_THREADS = 2
CALL_THREADS = 2
BEAT_THREADS = 1

#: The most connections that one daemon holds.
MOST_CONNECTIONS = DRAW_THREADS + CALL_THREADS + BEAT_THREADS

#: How long a statement waits for another client's lock, and how long a frozen client may keep one.
LOCK_SECONDS = 5

_SQLITE_MAGIC = b"SQLite format 3\0"


def expected_of(url: str, state_dir: Path) -> str:
    """The part that a URL lacks and needs, in words; empty if nothing is seen from here.

    It connects nowhere. The state directory need not exist yet.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "a URL of the form user@host:port/database"
    if parsed.get_backend_name() == "sqlite":
        return _expected_of_file(Path(parsed.database or ""), state_dir)
    return _expected_of_options(parsed)


def _expected_of_file(path: Path, state_dir: Path) -> str:
    if not path.parent.is_dir():
        return "" if path.parent == state_dir else f"a directory that is there: {path.parent}"
    try:
        with path.open("rb") as file:
            begin = file.read(len(_SQLITE_MAGIC))
    except IsADirectoryError:
        return "a file, not a directory"
    except OSError:
        # It is to be made, or only the daemon's user may read it.
        return ""
    return "" if begin in (b"", _SQLITE_MAGIC) else "an SQLite database: this file is something else"


def _expected_of_options(url: URL) -> str:
    _, options = url.get_dialect()().create_connect_args(url)
    try:
        make_dsn(**options)
    except psycopg2.ProgrammingError as error:
        return f"options that libpq knows: {str(error).strip().removeprefix('invalid dsn: ')}"
    return ""


def make_engine(url: URL, server: Server | None) -> Engine:
    """The engine of an embedded database, or of a server."""
    if server is None:
        engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(
        url, creator=server.connect, pool_size=MOST_CONNECTIONS, max_overflow=0, pool_timeout=LOCK_SECONDS,
        pool_recycle=1800,
    )  # fmt: skip
    event.listen(engine, "handle_error", _leave_reader)
    return engine


def _leave_reader(context: ExceptionContext) -> None:
    """Another host of the URL may be the primary by now: the next connections look for it."""
    if getattr(context.original_exception, "pgcode", None) == faults.READ_ONLY_STATE:
        context.is_disconnect = True


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
