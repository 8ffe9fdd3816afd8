"""A spool is watched: what comes, what goes, and what cannot be watched."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tuned.disk.arrivals import Change, Taken
from tuned.disk.spool import Spool
from tuned.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a user namespace of its own needs root")

EVERYTHING = Change.ARRIVALS | Change.ACTIVE


@contextlib.asynccontextmanager
async def watching(spool: Spool) -> AsyncIterator[AsyncIterator[Change]]:
    async with asyncio.timeout(100), contextlib.aclosing(spool.changes()) as changes:
        assert await anext(changes) == EVERYTHING
        # The second look at what had only just been written at the first.
        assert await anext(changes) == EVERYTHING
        yield changes


async def test_an_arrival_is_noticed_and_many_at_once_are_few_notices(spool: Spool) -> None:
    async with watching(spool) as changes:
        for number in range(1000):
            (spool.path / f".e{number}").write_bytes(b"x")
            (spool.path / f".e{number}").rename(spool.path / f"e{number}.toml")
        taken, notices = 0, 0
        while taken < 1000:
            assert Change.ARRIVALS in await anext(changes)
            notices += 1
            while batch := await asyncio.to_thread(spool.take, limit=500):
                taken += len(batch)
        assert notices <= 20


async def test_what_is_still_written_at_the_first_look_is_noticed_when_it_is_closed(spool: Spool) -> None:
    async with watching(spool) as changes:
        with (spool.path / "a.toml").open("wb") as writer:
            assert await anext(changes) == Change.ARRIVALS
            assert spool.take() == []
            writer.write(b"x")
        while not (taken := spool.take()):
            await anext(changes)
        assert taken == [Taken(name="a", content=b"x")]


async def test_a_file_removed_from_active_by_hand_is_noticed(spool: Spool) -> None:
    (spool.path / "a.toml").write_bytes(b"x")
    spool.take()
    async with watching(spool) as changes:
        (spool.path / "active" / "a.toml").unlink()
        assert await anext(changes) == Change.ACTIVE


async def test_what_is_not_looked_at_is_not_noticed(spool: Spool) -> None:
    async with watching(spool) as changes:
        (spool.path / ".a.toml").write_bytes(b"x")
        (spool.path / "rejected" / "b.toml").write_bytes(b"x")
        (spool.path / "active" / ".c.tmp").write_bytes(b"x")
        (spool.path / "active" / ".c.tmp").unlink()
        (spool.path / "a.toml").write_bytes(b"x")
        assert await anext(changes) == Change.ARRIVALS


async def test_permission_to_read_is_noticed(spool: Spool) -> None:
    (spool.path / "a.toml").write_bytes(b"x")
    async with watching(spool) as changes:
        (spool.path / "a.toml").chmod(0o644)
        assert await anext(changes) == Change.ARRIVALS


@pytest.mark.parametrize("what", ["spool", "spool/active"])
@pytest.mark.parametrize("how", ["removed", "renamed"])
async def test_a_spool_that_goes_away_is_told_once_and_for_all(
    spool: Spool, tmp_path: Path, what: str, how: str
) -> None:
    async with watching(spool) as changes:
        if how == "removed":
            shutil.rmtree(tmp_path / what)
        else:
            (tmp_path / what).rename(tmp_path / "elsewhere")
        with pytest.raises(NotFound, match="removed or replaced"):
            await anext(changes)
    with pytest.raises(NotFound):
        spool.take()


async def test_a_spool_that_was_replaced_before_it_was_watched_is_gone(spool: Spool) -> None:
    shutil.rmtree(spool.path)
    (spool.path / "active").mkdir(parents=True)
    with pytest.raises(NotFound, match="removed or replaced"):
        await anext(spool.changes())


@as_root
@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_the_systems_limits_are_a_clear_error(directory: Path, limit: str) -> None:
    code = (
        "import asyncio, pathlib, sys; from tuned.disk.spool import Spool\n"
        "try: asyncio.run(anext(Spool(pathlib.Path(sys.argv[1])).changes()))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    # The limit of a user namespace of its own: nobody else's is touched.
    script = f'echo 0 > /proc/sys/user/{limit}; exec "$0" -c "$1" "$2"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", script]
    done = subprocess.run(
        [*command, sys.executable, code, str(directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.match("InvalidInput .*no watch to be had: .*fs.inotify.max_user_watches", done.stdout)
