"""A keeper as a process of its own, for tests that speak with it as the daemon does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tuned.disk.state import StateDirectory
from tuned.keeper.process import KeeperProcess
from tuned.trial.evaluation import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with StateDirectory.open(tmp_path / "state") as state:
        yield Site(host="h", state=state, cgroups=None, grace_seconds=0.0)


@pytest_asyncio.fixture
async def keeper(site: Site) -> AsyncIterator[KeeperProcess]:
    keeper = KeeperProcess(site, slots=2, log_format="json", patience_seconds=60)
    yield keeper
    await keeper.close()
