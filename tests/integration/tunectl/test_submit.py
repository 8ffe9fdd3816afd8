"""Files on their way into the spool, and the daemon's verdict."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.integration.tunectl.running import EXPERIMENT, spooled, start, tunectl
from tests.small_host import SmallHost
from tests.waiting import until_async


async def test_submit_puts_the_whole_file_into_the_spool_and_waits_for_the_verdict(
    host: SmallHost, files: Path, path: Path
) -> None:
    process = await start(path, "submit", str(files / "right.toml"))
    await until_async(lambda: "right.toml" in spooled(files), what="the file")
    assert spooled(files) == {"right.toml": EXPERIMENT}
    host.events.publish("experiment-taken", experiment="right", file="right.toml")
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, b"submitted and taken" in out) == (0, True)


async def test_replace_sends_the_whole_file_and_says_the_budget_of_then(
    host: SmallHost, files: Path, path: Path
) -> None:
    (files / "right.toml").rename(files / "minima.toml")
    answer = await tunectl(path, "submit", "--replace", str(files / "minima.toml"))
    assert answer == (0, "minima is open; its budget: 46 of 100 trials\n", "")
    assert (host.replacement, spooled(files)) == (EXPERIMENT.encode(), {})


async def test_submit_tells_why_the_daemon_rejects_a_file(host: SmallHost, files: Path, path: Path) -> None:
    process = await start(path, "submit", str(files / "right.toml"))
    await until_async(lambda: "right.toml" in spooled(files), what="the file")
    host.events.publish("experiment-rejected", file="right.toml", message="the study has another space")
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, b"the study has another space" in err) == (1, True)


async def test_submit_leaves_a_wrong_file_and_never_overwrites_one(files: Path, path: Path) -> None:
    (files / "spool" / "right.toml").write_text("waiting")
    status, _, err = await tunectl(path, "submit", str(files / "wrong.toml"), str(files / "right.toml"))
    assert (status, spooled(files)) == (1, {"right.toml": "waiting"})
    assert "one of this name waits" in err


async def test_standard_input_must_say_its_name(files: Path, path: Path) -> None:
    process = await start(path, "submit", "-")
    _, err = await asyncio.wait_for(process.communicate(EXPERIMENT.encode()), 30)
    assert (process.returncode, spooled(files)) == (1, {})
    assert b"name: found nothing" in err
