"""Databases with all their tables, and a world of hosts and experiments in one that Optuna made."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conftest import POSTGRES_URL
from tests.factories import opened
from tests.integration.storage.queries.worlds import World
from tests.kept_database import KeptDatabase
from tuned.storage.database import Database


@pytest.fixture(scope="session")
def kept_database() -> Iterator[KeptDatabase]:
    kept = KeptDatabase(os.environ[POSTGRES_URL])
    yield kept
    kept.drop()


@pytest.fixture
def kept_url(kept_database: KeptDatabase) -> Iterator[str]:
    """On PostgreSQL; it has all tables already."""
    yield kept_database.url()
    kept_database.empty()


@pytest.fixture(params=["sqlite", "postgresql"])
def prepared_url(request: pytest.FixtureRequest) -> str:
    """A database to be opened, once on each kind of storage."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "kept_url")
    return url


@pytest.fixture
def database(prepared_url: str) -> Iterator[Database]:
    with opened(prepared_url) as database:
        yield database


@pytest.fixture
def world(database: Database) -> World:
    return World(database)
