"""The life of the keeper's process: how it begins, and what does not end it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.keeper.running import hello, spoken_with
from tuned.keeper import main


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_for_the_daemon_do_not_end_it(tmp_path: Path, number: signal.Signals) -> None:
    async with spoken_with() as keeper:
        keeper.say(hello(tmp_path))
        assert (await keeper.heard())["kind"] == "ready"
        keeper.process.send_signal(number)
        keeper.say({"kind": "ping"})
        assert await keeper.heard() == {"kind": "pong"}


async def test_it_begins_nothing_while_another_one_of_its_installation_lives(tmp_path: Path) -> None:
    async with spoken_with() as keeper:
        with (tmp_path / "lock").open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            keeper.say(hello(tmp_path))
            heard = asyncio.ensure_future(keeper.heard())
            await asyncio.wait([heard], timeout=2)
            assert not heard.done()
        assert (await heard)["kind"] == "ready"


async def test_another_one_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "OTHER_SECONDS", 0.1)
    lock = tmp_path / "lock"
    hold = "import fcntl, os, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2)\n"
    hold += "f.write(str(os.getpid())); f.flush(); print('held', flush=True); time.sleep(600)"
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", hold, lock, stdout=subprocess.PIPE)
    assert other.stdout is not None
    await other.stdout.readline()
    async with asyncio.timeout(60), main.alone(lock):
        assert await other.wait() == -signal.SIGKILL


async def test_a_daemon_that_ends_before_it_says_hello_leaves_none() -> None:
    async with spoken_with() as keeper:
        keeper.wire.close()
        assert await keeper.process.wait() == 0


def test_it_imports_little() -> None:
    script = "import json, sys, tuned.keeper.main; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"aiohttp", "numpy", "optuna", "pydantic", "sqlalchemy"}
