"""The ground of a run: a PostgreSQL server and a directory of its own, both gone at its end."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fleet.hosts import query
from tests.postgres import PostgresServer

#: As a server that is meant to keep what it was told; the tests' own does not flush.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "max_connections": "400",
    "shared_buffers": "256MB",
}

KINDS = ("postgresql", "sqlite")

#: A commit does not wait for the disk: what is left is what the software costs.
UNFLUSHED = "postgresql, no flush"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The databases and directories of one run."""

    home: Path
    postgres: PostgresServer
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextlib.contextmanager
    def database(self, kind: str) -> Iterator[str]:
        """The URL of an empty database, which is gone afterwards."""
        if kind == "sqlite":
            yield f"sqlite:///{self.directory() / 'tuned.db'}"
            return
        url = self.postgres.create_database()
        if kind == UNFLUSHED:
            query(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
        yield url
        self.postgres.drop_database(url)

    def directory(self) -> Path:
        """A new one."""
        directory = self.home / str(next(self._numbers))
        directory.mkdir()
        return directory


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    with (
        tempfile.TemporaryDirectory(prefix="tuned-bench-") as home,
        PostgresServer(settings=SETTINGS) as postgres,
    ):
        yield Ground(home=Path(home), postgres=postgres)
