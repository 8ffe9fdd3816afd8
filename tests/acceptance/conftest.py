"""Daemons for tests: one that the tests of a worker share, and hosts of a test's own."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.daemon import Daemon
from tuned.errors import Conflict
from tuned.protocol.experiments import ExperimentSummary

MakeDaemon = Callable[..., Daemon]


@pytest.fixture(scope="session")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("shared"), slots=4).start()
    # Tests may use its database by themselves.
    daemon.until_joined()
    yield daemon
    daemon.close()


@pytest.fixture
def shared(shared_daemon: Daemon) -> Iterator[Daemon]:
    """A running daemon with four idle slots, for tests that do not stop it."""
    assert shared_daemon.process is not None
    assert shared_daemon.process.poll() is None, f"the shared daemon has ended:\n{shared_daemon.log_tail()}"
    yield shared_daemon
    # Experiments that a test left would take the slots of the next one.
    for experiment in shared_daemon.status()["experiments"]:
        with suppress(Conflict):
            shared_daemon.client.post(f"/v1/experiments/{experiment['name']}/cancel", ExperimentSummary)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeDaemon]:
    """Makes hosts below directories of their own, not started yet."""
    made: list[Daemon] = []

    def daemon(name: str = "a", **settings: object) -> Daemon:
        made.append(Daemon(tmp_path / name, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield daemon
    for each in made:
        each.close()


@pytest.fixture
def daemon(make: MakeDaemon) -> Daemon:
    """A host of the test's own with two slots, running."""
    return make().start()


@pytest.fixture
def plain_user() -> int | None:
    """A user without rights, as which a test that runs as root can start a daemon; None: this one is."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


@pytest.fixture
def plain_daemon(plain_user: int | None) -> Iterator[Daemon]:
    """A host whose daemon has no rights: without control groups."""
    home = Path(tempfile.mkdtemp(prefix="tuned-plain-"))
    daemon = Daemon(home, user=plain_user)
    yield daemon.start()
    daemon.close()
    shutil.rmtree(home)
