"""Reloads: read in a thread, once for all requests before it, and applied only while the host runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.waiting import until_async
from tuned.config.settings import Settings
from tuned.daemon.reloads import Reloads, needs_restart
from tuned.domain.states import HostState
from tuned.errors import InvalidInput, Problem
from tuned.systemd.notify import Notifier

SETTINGS = Settings(
    storage="sqlite://", spool=Path("s"), state_dir=Path("d"), socket=Path("c"), host="h1", slots=1
)


@dataclass(slots=True, kw_only=True)
class Host:
    """Counts the readings, and keeps the settings that it was given."""

    state: HostState = HostState.RUNNING
    act: Callable[[], object] = lambda: None
    readings: int = 0
    applied: list[Settings] = field(default_factory=list)

    def read(self) -> Settings:
        self.readings += 1
        self.act()
        return SETTINGS


@asynccontextmanager
async def reloading(host: Host) -> AsyncIterator[Reloads]:
    reloads = Reloads(host.read, host.applied.append, state=lambda: host.state, notifier=Notifier())
    running = asyncio.create_task(reloads.run())
    yield reloads
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_requests_during_a_reading_are_one_more_reading() -> None:
    may_read = threading.Event()
    host = Host(act=lambda: may_read.wait(60))
    async with reloading(host) as reloads:
        reloads.request()
        await until_async(lambda: host.readings == 1, what="the first reading")
        for _ in range(3):
            reloads.request()
        may_read.set()
        await until_async(lambda: len(host.applied) == 2, what="the second reading")
    assert host.readings == 2


async def test_a_broken_configuration_changes_nothing_and_the_next_one_is_read() -> None:
    def break_once() -> None:
        if host.readings == 1:
            raise InvalidInput(Problem(file="tuned.toml", key="slots", found="0", expected="at least 1"))

    host = Host(act=break_once)
    async with reloading(host) as reloads:
        reloads.request()
        await until_async(lambda: host.readings == 1, what="the broken one")
        reloads.request()
        await until_async(lambda: host.applied, what="the next one")
    assert host.applied == [SETTINGS]


async def test_a_host_that_began_to_stop_while_it_read_applies_nothing() -> None:
    def stop() -> None:
        host.state = HostState.DRAINING
        has_stopped.set()

    has_stopped = threading.Event()
    host = Host(act=stop)
    async with reloading(host) as reloads:
        reloads.request()
        await asyncio.to_thread(has_stopped.wait, 60)
        reloads.request()
    assert (host.readings, host.applied) == (1, [])


@pytest.mark.parametrize("state", [HostState.STARTING, HostState.DRAINING, HostState.ABORTING])
async def test_only_a_running_host_reads(state: HostState) -> None:
    host = Host(state=state)
    async with reloading(host) as reloads:
        reloads.request()
        await until_async(lambda: not reloads._is_wanted.is_set(), what="the request to be seen")
        host.state = HostState.RUNNING
        reloads.request()
        await until_async(lambda: host.applied, what="the reading of a running host")
    assert host.readings == 1


def test_settings_that_a_running_daemon_takes_over_need_no_restart() -> None:
    then = replace(SETTINGS, slots=2, gpus=("0",), log_format="json")
    assert needs_restart(SETTINGS, then) == set()


def test_all_other_settings_that_changed_need_one() -> None:
    then = replace(SETTINGS, slots=2, host="h2", socket=Path("other"))
    assert needs_restart(SETTINGS, then) == {"host", "socket"}


def test_the_files_and_warnings_of_a_configuration_are_no_settings() -> None:
    then = replace(SETTINGS, files=(Path("more.toml"),), warnings=("heartbeat.expire is 1s",))
    assert needs_restart(SETTINGS, then) == set()
