"""Databases with all their tables, and a world of hosts and experiments in one that Optuna made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.factories import opened
from tests.integration.storage.queries.worlds import World
from tuned.storage.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    database = Database(database_url)
    database.prepare()
    yield World(database)
    database.close()
