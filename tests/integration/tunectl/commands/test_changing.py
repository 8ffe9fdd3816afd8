"""Commands that change something, or wait until it has changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.tunectl.running import start, tunectl
from tests.small_host import SmallHost, served
from tests.waiting import until_async


async def test_changing_commands_say_what_it_is_then(host: SmallHost, path: Path) -> None:
    for verb, state in [("pause", "paused"), ("resume", "open"), ("cancel", "cancelled")]:
        assert await tunectl(path, verb, "minima") == (0, f"minima is {state}\n", "")
    assert await tunectl(path, "drain") == (0, "draining\n", "")
    assert await tunectl(path, "abort") == (0, "aborting\n", "")
    assert host.host_state == "aborting"


async def test_another_host_is_told_by_name(host: SmallHost, path: Path) -> None:
    for verb, became in [("drain", "draining"), ("abort", "draining"), ("restart", "restarts")]:
        said = (0, f"beta: {became}, seen after 1.5 s\n", "")
        assert await tunectl(path, verb, "--host", "beta") == said
    refused = "tunectl: cannot abort host gamma: it is dead or has stopped; see: tunectl hosts\n"
    assert await tunectl(path, "abort", "--host", "gamma") == (1, "", refused)
    assert (await tunectl(path, "drain", "--wait", "--host", "beta"))[0] == 2
    assert host.host_state == "running"


@pytest.mark.parametrize(("state", "expected"), [("done", 0), ("cancelled", 1)])
async def test_wait_ends_with_the_experiment(host: SmallHost, path: Path, state: str, expected: int) -> None:
    host.summary["state"] = "open"
    process = await start(path, "wait", "minima")
    await until_async(lambda: bool(host.events._subscriptions), what="the reader")
    host.summary["state"] = "done" if state == "done" else "cancelled"
    host.events.publish("experiment-state", experiment="other", state="done")
    host.events.publish("experiment-state", experiment="minima", state=state)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out.decode().split(",")[0].strip()) == (expected, f"minima is {state}")


async def test_wait_for_an_ended_experiment_returns_at_once(host: SmallHost, path: Path) -> None:
    host.summary["state"] = "done"
    nearest, host.summary["best"] = host.summary["best"], None
    host.summary["ended_by"] = "100 trials"
    assert await tunectl(path, "wait", "minima") == (1, "minima is done, no value: 100 trials\n", "")
    host.summary["nearest"] = nearest
    said = "minima is done, no trial is feasible: 100 trials\n"
    assert await tunectl(path, "wait", "minima") == (1, said, "")


async def test_wait_says_when_the_daemon_ends_first(path: Path) -> None:
    host = SmallHost()
    async with served(host, path):
        process = await start(path, "wait", "minima")
        await until_async(lambda: bool(host.events._subscriptions), what="the reader")
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 3
