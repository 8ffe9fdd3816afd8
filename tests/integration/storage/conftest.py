"""What these tests share: a database with all its tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.factories import opened
from tuned.storage.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database
