"""Hosts of one fleet, and the ledger of what they evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.hosts import Fleet
from tests.fleet.ledger import Ledger
from tests.postgres import PostgresServer


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def fleet(tmp_path: Path, postgresql_url: str) -> Iterator[Fleet]:
    """On the server that all tests share."""
    with Fleet(tmp_path, postgresql_url) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """To be stopped and started again: each test leaves it running."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def exposed(tmp_path: Path, server: PostgresServer) -> Iterator[Fleet]:
    """On a server that may be stopped."""
    with Fleet(tmp_path, server.create_database()) as fleet:
        yield fleet
