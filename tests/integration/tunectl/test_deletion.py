"""A person is asked before anything is deleted."""

from __future__ import annotations

import asyncio
import os
import pty
from pathlib import Path

import pytest

from tests.integration.tunectl.running import COMMAND, tunectl
from tests.small_host import SmallHost


async def answered(path: Path, answer: bytes, *arguments: str) -> tuple[int | None, str, str]:
    """The command on a terminal, on which a person answers this."""
    ours, theirs = pty.openpty()
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, stdin=theirs, stdout=pipe, stderr=pipe,
            env={**os.environ, "TUNED_SOCKET": str(path)},
        )  # fmt: skip
        os.write(ours, answer)
        out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        os.close(ours)
        os.close(theirs)
    return process.returncode, out.decode(), err.decode()


async def test_a_person_is_asked_and_told_what_goes(host: SmallHost, path: Path) -> None:
    status, out, err = await answered(path, b"y\n", "delete", "minima")
    assert "Delete minima: 48 trials, 2 of them running, with their outputs" in err
    assert (status, out) == (0, "minima is deleted, with 46 trials; other hosts follow within a beat\n")
    assert host.deleted is False


@pytest.mark.parametrize("answer", [b"n\n", b"\n"])
async def test_nothing_is_deleted_that_is_not_confirmed(host: SmallHost, path: Path, answer: bytes) -> None:
    status, out, _ = await answered(path, answer, "delete", "minima")
    assert (status, out, host.deleted) == (1, "minima stays as it is\n", None)


async def test_without_a_terminal_only_a_sure_person_deletes(host: SmallHost, path: Path) -> None:
    status, _, err = await tunectl(path, "delete", "minima")
    assert (status, host.deleted, "expected --yes" in err) == (2, None, True)
    assert (await tunectl(path, "delete", "--yes", "--force", "minima"))[0] == 0
    assert host.deleted is True


@pytest.mark.usefixtures("host")
async def test_a_name_that_is_not_there_is_told(path: Path) -> None:
    status, _, err = await tunectl(path, "delete", "--yes", "nothing")
    assert (status, "cannot find experiment nothing" in err) == (1, True)
