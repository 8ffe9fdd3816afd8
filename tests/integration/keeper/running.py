"""Runs of small shell scripts, as the daemon asks for them, and a keeper that is spoken with by hand."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tuned.keeper import protocol
from tuned.keeper.wire import Wire
from tuned.trial.keeping import Run
from tuned.trial.launch import Launch


def a_run(home: Path, script: str, *, program: str = "sh", timeout_seconds: float | None = 60) -> Run:
    claim = uuid.uuid4().hex
    launch = Launch(
        argv=(program, "-c", script), environment=dict(os.environ), workdir=home, log=home / "output.log",
        timeout_seconds=timeout_seconds, objectives=1, pattern=None, mark=f"{'0' * 32}/{claim}", cgroups=None,
    )  # fmt: skip
    return Run(key=f"{claim}-1-1", launch=launch, study="u", program=None, fields={"trial": 7})


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A keeper's process, and our end of the talk with it."""

    process: asyncio.subprocess.Process
    wire: Wire

    def say(self, *messages: protocol.ToKeeper) -> None:
        """All at once."""
        self.wire.send(b"".join(map(protocol.encoded, messages)))

    async def heard(self) -> protocol.ToDaemon:
        line = await self.wire.receive()
        assert line is not None
        return protocol.to_daemon(line)


@asynccontextmanager
async def spoken_with() -> AsyncIterator[Spoken]:
    """Nothing of it is left behind the block."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tuned.keeper.main", str(theirs.fileno()), pass_fds=(theirs.fileno(),),
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
    spoken = Spoken(process=process, wire=await Wire.on(ours))
    try:
        yield spoken
    finally:
        spoken.wire.close()
        await process.wait()


def hello(home: Path) -> protocol.Hello:
    return {
        "kind": "hello", "version": protocol.VERSION, "installation": uuid.uuid4().hex,
        "lock": str(home / "keeper.lock"), "cgroups": None, "slots": 2, "host": "h", "log_format": "json",
    }  # fmt: skip
