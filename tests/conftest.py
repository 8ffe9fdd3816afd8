"""Databases for tests: one PostgreSQL server for the whole run, and an empty database for each test."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.postgres import PostgresServer, create_database, drop_database

#: In these variables the controlling process tells its workers (and itself) the server's URL and directory.
POSTGRES_URL = "TUNED_TEST_POSTGRES_URL"

POSTGRES_HOME = "TUNED_TEST_POSTGRES_HOME"

_server = pytest.StashKey[PostgresServer]()


def pytest_configure(config: pytest.Config) -> None:
    """Started before the workers, so that all of them share one server; unit tests need none."""
    # A shell may have a run in its background ignore interrupts, and all that tests start would do so too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _keep_bytecode()
    if hasattr(config, "workerinput") or config.option.collectonly or _only_unit_tests(config):
        return
    # A run that is told to end cleans up like one that is interrupted; a killed one leaves files, no process.
    signal.signal(signal.SIGTERM, _interrupt)
    server = config.stash[_server] = PostgresServer()
    server.start()
    os.environ[POSTGRES_URL] = server.url()
    os.environ[POSTGRES_HOME] = str(server.home)


def pytest_unconfigure(config: pytest.Config) -> None:
    if server := config.stash.get(_server, None):
        server.remove()
        del os.environ[POSTGRES_URL], os.environ[POSTGRES_HOME]


def _keep_bytecode() -> None:
    """Images of containers often forbid it, and then each process compiles all of ours that it imports."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _only_unit_tests(config: pytest.Config) -> bool:
    unit = Path(__file__).parent / "unit"
    paths = [Path(config.invocation_params.dir, arg.partition("::")[0]).resolve() for arg in config.args]
    return all(path.is_relative_to(unit) for path in paths)


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """An empty PostgreSQL database, dropped after the test."""
    url = create_database(os.environ[POSTGRES_URL])
    yield url
    drop_database(url)


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def narrow_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty PostgreSQL database whose encoding lacks most characters."""
    url = create_database(os.environ[POSTGRES_URL], request.param)
    yield url
    drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite database that does not exist yet, in the test's own directory."""
    return f"sqlite:///{tmp_path / 'tuned.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, once on each kind of storage."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server of the test's own, to be stopped, killed and started again at will."""
    with PostgresServer(below=Path(os.environ[POSTGRES_HOME])) as server:
        yield server
