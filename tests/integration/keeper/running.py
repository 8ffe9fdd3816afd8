"""Runs of small shell scripts, as the daemon asks for them, and a keeper that is spoken with by hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.daemon import command_of
from tuned.keeper import door, protocol
from tuned.keeper.wire import Wire
from tuned.trial.keeping import Run
from tuned.trial.launch import Launch

#: One report of a command.
REPORT = """echo '{"step": 3, "value": 0.5}'"""


def a_run(home: Path, script: str, *, program: str = "sh", timeout_seconds: float | None = 60) -> Run:
    claim = uuid.uuid4().hex
    launch = Launch(
        argv=(program, "-c", script), environment=dict(os.environ), workdir=home, log=home / "output.log",
        timeout_seconds=timeout_seconds, objectives=1, pattern=None, mark=f"{'0' * 32}/{claim}", cgroups=None,
    )  # fmt: skip
    return Run(key=f"{claim}-1-1", launch=launch, study="u", program=None, fields={"trial": 7})


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A keeper's process, if we began it, and our end of the talk with it."""

    wire: Wire
    began: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self.began is not None
        return self.began

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
    spoken = Spoken(began=process, wire=await Wire.on(ours))
    try:
        yield spoken
    finally:
        spoken.wire.close()
        # It goes on with what runs.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def another(home: Path) -> AsyncIterator[Spoken]:
    """Another daemon's talk with the keeper that lives there."""
    connected = door.knock(home)
    assert connected is not None
    spoken = Spoken(wire=await Wire.on(connected))
    yield spoken
    spoken.wire.close()


def hello(home: Path) -> protocol.Hello:
    return {
        "kind": "hello", "version": protocol.VERSION, "installation": uuid.uuid4().hex,
        "directory": str(home), "cgroups": None, "slots": 2, "host": "h", "log_format": "json",
        "patience_seconds": 60,
    }  # fmt: skip


def pid_of_keeper() -> int:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    [found] = [int(pid) for pid in children if b"tuned.keeper.main" in command_of(int(pid))]
    return found
