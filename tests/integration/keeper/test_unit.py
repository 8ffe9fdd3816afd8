"""The keeper as a service: begun by a socket, found by daemons, ended by its service manager."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.daemon import command_of
from tests.integration.keeper.running import a_run
from tests.waiting import until_async
from tuned.config.trials_service import TrialsService
from tuned.disk.state import StateDirectory
from tuned.errors import Unstartable
from tuned.keeper import process
from tuned.keeper.process import KeeperProcess
from tuned.trial.evaluation import Site
from tuned.trial.keeping import Watcher


@dataclass(slots=True, kw_only=True)
class Manager:
    """Does what systemd does with a socket unit and its service."""

    service: TrialsService
    entrance: socket.socket
    begun: list[subprocess.Popen[bytes]] = field(default_factory=list)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            spoken = asyncio.Event()
            loop.add_reader(self.entrance, spoken.set)
            await spoken.wait()
            loop.remove_reader(self.entrance)
            await asyncio.to_thread(self.begin().wait)

    def begin(self) -> subprocess.Popen[bytes]:
        number = self.entrance.fileno()
        command = f'exec "$0" -m tuned.keeper.unit "$1" 3<&{number}'
        environment = {**os.environ, "TRIALS_OWN": "yes", "WATCHDOG_USEC": "3000000"}
        self.begun.append(
            subprocess.Popen(
                ["bash", "-c", command, sys.executable, self.service.home],
                pass_fds=(number,),
                env=environment,
            )
        )
        return self.begun[-1]


@pytest_asyncio.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    service = TrialsService(user="trials", socket=tmp_path / "s", home=tmp_path / "home")
    service.home.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as entrance:
        entrance.bind(str(service.socket))
        entrance.listen()
        manager = Manager(service=service, entrance=entrance)
        running = asyncio.create_task(manager.run())
        yield manager
        for each in manager.begun:
            each.kill()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest_asyncio.fixture
async def site(tmp_path: Path, manager: Manager) -> AsyncIterator[Site]:
    with StateDirectory.open(tmp_path / "state", has_trials=False) as state:
        yield Site.here(host="h", state=state, grace_seconds=0.0, service=manager.service)


def a_daemon(site: Site, patience_seconds: float = 60) -> KeeperProcess:
    return KeeperProcess(site, slots=2, log_format="json", patience_seconds=patience_seconds)


async def test_a_daemon_that_speaks_gets_one_and_learns_of_its_host(site: Site, manager: Manager) -> None:
    daemon = a_daemon(site)
    await daemon.begin()
    for name in ("trials", "points", "code"):
        assert (manager.service.home / name).is_dir()
        assert not (site.state.path / name).exists()
    assert site.environment["TRIALS_OWN"] == "yes"
    assert "WATCHDOG_USEC" not in site.environment
    assert "has not answered" not in site.no_cgroups
    ending = await daemon.run(a_run(manager.service.home, "echo 0.5"), Watcher())
    assert ending.values == (0.5,)
    await daemon.close()
    assert await asyncio.to_thread(manager.begun[0].wait) == 0


async def test_a_run_outlives_its_daemon_and_the_next_one_has_it(site: Site, manager: Manager) -> None:
    first, second = a_daemon(site), a_daemon(site)
    run = a_run(manager.service.home, "until [ -e go ]; do sleep 0.05; done; echo 1")
    going = asyncio.create_task(first.run(run, Watcher()))
    await until_async((manager.service.home / "output.log").exists, what="the run")
    first.leave()
    with pytest.raises(Exception, match="ended"):
        await going
    await second.begin()
    assert [each.key for each in second.kept()] == [run.key]
    (manager.service.home / "go").touch()
    assert (await second.resume(run, Watcher())).values == (1.0,)
    assert len(manager.begun) == 1
    await second.close()


async def test_sigterm_kills_what_runs_and_the_daemon_gets_another_one(site: Site, manager: Manager) -> None:
    daemon = a_daemon(site)
    run = a_run(manager.service.home, "echo $$ > pid; sleep 1000")
    going = asyncio.create_task(daemon.run(run, Watcher()))
    pid = manager.service.home / "pid"
    await until_async(lambda: pid.exists() and pid.read_text() != "", what="the run")
    manager.begun[0].send_signal(signal.SIGTERM)
    with contextlib.suppress(Exception):
        await going
    assert not any(command_of(int(pid.read_text())))
    ending = await daemon.run(a_run(manager.service.home, "echo 2"), Watcher())
    assert (ending.values, len(manager.begun)) == ((2.0,), 2)
    await daemon.close()


def test_nobody_of_its_user_can_read_its_memory() -> None:
    script = "import ctypes; from tuned.keeper.unit import hide; hide(); print(ctypes.CDLL(None).prctl(3))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == b"0\n"


async def test_one_of_another_release_is_replaced_when_nothing_runs(
    site: Site, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = a_daemon(site)
    run = a_run(manager.service.home, "until [ -e go ]; do sleep 0.05; done; echo 1")
    going = asyncio.create_task(first.run(run, Watcher()))
    await until_async((manager.service.home / "output.log").exists, what="the run")
    first.leave()
    await asyncio.wait([going])
    assert going.exception() is not None
    monkeypatch.setattr(process, "__version__", "99.0")
    second = a_daemon(site)
    await second.begin()
    assert len(manager.begun) == 1
    (manager.service.home / "go").touch()
    assert (await second.resume(run, Watcher())).values == (1.0,)
    await until_async(lambda: len(manager.begun) == 2, what="the new one")
    await second.close()


async def test_no_service_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "SERVICE_SECONDS", 0.1)
    assert site.service is not None
    site.service = replace(site.service, socket=tmp_path / "none")
    with pytest.raises(Unstartable, match=r"trials\.service does not answer on"):
        await a_daemon(site).begin()
