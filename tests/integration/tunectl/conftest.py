"""A small host at a socket, and files to submit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.tunectl.running import EXPERIMENT
from tests.small_host import SmallHost, served


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tuned.sock"


@pytest.fixture
def host_type() -> type[SmallHost]:
    return SmallHost


@pytest.fixture
async def host(path: Path, host_type: type[SmallHost]) -> AsyncIterator[SmallHost]:
    host = host_type()
    async with served(host, path):
        yield host


@pytest.fixture
def files(tmp_path: Path, host: SmallHost) -> Path:
    """A directory with a file that is right and one that is wrong, and the host's spool beside them."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "right.toml").write_text(EXPERIMENT)
    (tmp_path / "wrong.toml").write_text("odd = 1\n" + EXPERIMENT.replace("low = 2", "low = 200"))
    host.spool = str(tmp_path / "spool")
    return tmp_path
