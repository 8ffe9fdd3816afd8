"""A small host that answers on a real Unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.small_host import SmallHost, served


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "tuned.sock"


@pytest.fixture
async def host() -> SmallHost:
    return SmallHost()


@pytest.fixture
async def server(host: SmallHost, path: Path) -> AsyncIterator[SmallHost]:
    async with served(host, path):
        yield host


@pytest.fixture
def address(server: SmallHost, path: Path) -> Path:
    """The socket of a host that the test need not know."""
    assert server.host_state == "running"
    return path
