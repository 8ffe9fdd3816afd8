"""The command as a process: its exit status, its errors and how soon it starts."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.integration.tunectl.running import start, tunectl
from tests.small_host import SmallHost


async def test_what_is_refused_exits_1_with_the_reason(host: SmallHost, path: Path) -> None:
    host.summary["state"] = "done"
    status, out, err = await tunectl(path, "pause", "minima")
    assert (status, out, err) == (1, "", "tunectl: cannot make minima paused: it is done\n")


async def test_wrong_usage_exits_2_and_names_the_help(path: Path) -> None:
    for arguments, said in (
        (["frobnicate"], "tunectl: no such command 'frobnicate'\n  see tunectl --help\n"),
        (["show"], "tunectl: missing argument 'NAME'\n  see tunectl show --help\n"),
        (["trials", "minima", "--limit", "0"], "tunectl: invalid value for '-n' / '--limit': 0 is not in"),
    ):
        status, out, err = await tunectl(path, *arguments)
        assert (status, out, err[: len(said)]) == (2, "", said)


async def test_no_daemon_exits_3(path: Path) -> None:
    for arguments in (["status"], ["wait", "minima"], ["drain", "--wait"], ["events"]):
        status, out, err = await tunectl(path, *arguments)
        assert (status, out) == (3, "")
        assert f"{path}: no such socket" in err


async def test_a_reader_that_has_seen_enough_is_no_error(host: SmallHost, path: Path) -> None:
    process = await start(path, "events")
    assert process.stdout is not None
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    while process.returncode is None:
        host.events.publish("experiment-state", experiment="minima", state="open")
        await asyncio.sleep(0.01)
    assert process.stderr is not None
    assert await process.stderr.read() == b""


@pytest.mark.usefixtures("host")
async def test_an_interrupt_is_quiet(path: Path) -> None:
    process = await start(path, "events", "--json")
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(2)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err.strip()) == (130, b"")


async def test_asking_imports_nothing_heavy() -> None:
    heavy = ["optuna", "aiohttp", "sqlalchemy", "pydantic", "structlog", "numpy", "asyncio"]
    code = f"import sys, tuned.tunectl.main; print([m for m in {heavy!r} if m in sys.modules])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=-1)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert out == b"[]\n"
