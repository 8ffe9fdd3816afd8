"""A streaming standby of a PostgreSQL server of the tests, to be promoted; and the URL that names both.

The standby copies its primary by ``pg_basebackup`` when it starts for the first time. It is asynchronous
until the primary waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import make_url

from tests.postgres import PostgresServer, session
from tests.waiting import until
from tuned.config.storage_url import normalised

#: Of both servers, because the one becomes the other.
REPLICATED = {"wal_level": "replica", "max_wal_senders": "4", "wal_keep_size": "64MB"}


class Standby(PostgresServer):
    """Follows its primary until it is cut off from it or promoted."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__(settings=REPLICATED)
        self._primary = primary

    def become_synchronous(self) -> None:
        """From now on no commit of the primary is answered before this server has it."""
        configure(self._primary, "synchronous_standby_names", "*")
        self._until_replicated("sync")

    def cut_off(self) -> None:
        """From now on it hears nothing of the primary."""
        configure(self, "primary_conninfo", "")
        until(lambda: not self._states(), what="the standby to be cut off", seconds=60)

    def promote(self) -> None:
        """Returns when it takes writes."""
        with session(self.url()) as cursor:
            cursor.execute("SELECT pg_promote(wait_seconds => 60)")
            assert cursor.fetchone() == (True,)

    def start(self) -> None:
        super().start()
        with session(self.url()) as cursor:
            cursor.execute("SELECT pg_is_in_recovery()")
            is_standby = cursor.fetchone() == (True,)
        if is_standby and self._primary.is_running:
            self._until_replicated("async")

    def _fill(self) -> None:
        primary = f"host=127.0.0.1 port={self._primary.port} user=postgres"
        self._run(
            "pg_basebackup", "-D", self._data, "--dbname", primary,
            "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
        )  # fmt: skip

    def _until_replicated(self, state: str) -> None:
        until(lambda: self._states() == [("streaming", state)], what=f"{state} replication", seconds=60)

    def _states(self) -> list[tuple[str, str]]:
        with session(self._primary.url()) as cursor:
            cursor.execute("SELECT state, sync_state FROM pg_stat_replication")
            return list(cursor.fetchall())


def configure(server: PostgresServer, name: str, value: str) -> None:
    """Returns when the server has it."""
    with session(server.url()) as cursor:
        cursor.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        cursor.execute("SELECT pg_reload_conf()")
    until(lambda: _shown(server, name) == value, what=f"{name} to be read", seconds=60)


def _shown(server: PostgresServer, name: str) -> str:
    with session(server.url()) as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


def url_of(database: str, *servers: PostgresServer) -> str:
    """A database of the first server that is the primary, as a person writes it, with the driver."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return normalised(f"postgresql://postgres@{hosts}/{make_url(database).database}")


@contextmanager
def replicated() -> Iterator[tuple[PostgresServer, Standby]]:
    """A primary and its standby."""
    with PostgresServer(settings=REPLICATED) as primary, Standby(primary) as standby:
        yield primary, standby
