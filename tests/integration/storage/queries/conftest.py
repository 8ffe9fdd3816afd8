"""What these tests share: a database that Optuna made, with some hosts and experiments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.storage.queries.worlds import World
from tuned.storage.database import Database


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    database = Database(database_url)
    database.prepare()
    yield World(database)
    database.close()
