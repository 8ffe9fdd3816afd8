"""Two booted hosts with the built package, and a PostgreSQL with a password between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.system.fleet import Fleet, Host, open_database
from tests.system.machine import CannotBoot, require_host


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    try:
        require_host()
    except CannotBoot as reason:
        pytest.exit(f"cannot boot hosts for the tests: {reason}", returncode=1)
    deb = Path(os.environ["TUNED_TEST_DEB"])
    with PostgresServer() as server:
        open_database(server)
        hosts = [Host(name, server) for name in ("alpha", "beta")]
        try:
            # From this thread: a host ends with the thread that started it.
            for host in hosts:
                host.start_boot()
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda host: host.install(deb), hosts))
            yield Fleet(hosts[0], hosts[1], server)
        finally:
            for host in hosts:
                host.close()


@pytest.fixture
def alpha(fleet: Fleet) -> Iterator[Host]:
    """The first host, its daemon running; settings that the test changed are put back."""
    yield fleet.alpha.ready()
    fleet.alpha.restore()


@pytest.fixture
def beta(fleet: Fleet) -> Iterator[Host]:
    yield fleet.beta.ready()
    fleet.beta.restore()
