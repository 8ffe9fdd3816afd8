"""Talks as they were recorded once: daemon and keeper of now understand the other side of that time."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.keeper.conversations import (
    DAEMON,
    HOME,
    NEXT,
    PRUNING,
    PlayedKeeper,
    recorded,
    talk,
)
from tests.integration.keeper.running import Spoken, another, spoken_with
from tuned.domain.ending import Ending
from tuned.errors import Unstartable
from tuned.keeper import protocol
from tuned.keeper.process import KeeperProcess
from tuned.trial.evaluation import Site

VERSIONS = range(protocol.OLDEST, protocol.VERSION + 1)

#: How the runs of the talk ended.
ENDINGS = [
    Ending(values=(7.0,), intermediate={3: 0.5}),
    Ending(values=(0.5,), is_pruned=True, pruning=PRUNING, intermediate={3: 0.5}),
    Ending(values=(7.0,), intermediate={3: 0.5}),
]


@pytest.mark.parametrize("version", VERSIONS)
async def test_this_daemon_understands_a_keeper_of_that_version(
    site: Site, tmp_path: Path, version: int
) -> None:
    keeper = PlayedKeeper(tmp_path, site.state, version)
    playing = asyncio.create_task(keeper.play())
    try:
        assert await talk(site, tmp_path) == ENDINGS
        await playing
    finally:
        keeper.end()


@pytest.mark.parametrize("version", VERSIONS)
async def test_this_keeper_understands_a_daemon_of_that_version(
    site: Site, tmp_path: Path, version: int
) -> None:
    heard: list[Ending] = []
    async with AsyncExitStack() as stack:
        keeper = await stack.enter_async_context(spoken_with())
        began = keeper
        for who, message in recorded(version):
            if who == NEXT:
                keeper.wire.close()
                keeper = await stack.enter_async_context(another(site.state.keeper))
            elif who == DAEMON:
                keeper.wire.send(json.dumps(message).replace(HOME, str(tmp_path)).encode() + b"\n")
            else:
                said = await _said(keeper, message)
                # The runs that wait for it go on, as they did then.
                if said["kind"] == "reports" and said["key"].startswith("a"):
                    (tmp_path / "a").touch()
                if said["kind"] == "ready" and said["runs"]:
                    (tmp_path / "d").touch()
                if said["kind"] == "ended" and said["ending"] is not None:
                    heard.append(said["ending"])
        assert await began.process.wait() == 0
    assert heard == ENDINGS


async def _said(keeper: Spoken, recorded_one: dict[str, Any]) -> Any:
    said = await keeper.heard()
    assert (said["kind"], said.get("key")) == (recorded_one["kind"], recorded_one.get("key"))
    return said


async def test_a_keeper_of_a_later_version_is_refused_with_a_clear_error(site: Site, tmp_path: Path) -> None:
    keeper = PlayedKeeper(tmp_path, site.state, protocol.VERSION)
    keeper.entries[1][1].update(version=protocol.VERSION + 1, runs="of another shape")
    playing = asyncio.create_task(keeper.play())
    try:
        daemon = KeeperProcess(site, slots=2, log_format="json", patience_seconds=60)
        with pytest.raises(
            Unstartable, match=r"pid \d+\) speaks version 2 .* versions 1 to 1: start the tuned"
        ):
            await daemon.begin()
        with pytest.raises(AssertionError, match="the daemon has gone"):
            await playing
    finally:
        keeper.end()
