"""The life of the keeper's process: it clears what an earlier one left, serves its daemon, and ends.

``python -m tuned.keeper.main DESCRIPTOR``: the daemon has the other end of that socket.

It imports little, and changes less than the rest of the house.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from tuned.disk import files
from tuned.keeper import protocol
from tuned.keeper.runs import Runs
from tuned.keeper.service import Service
from tuned.keeper.wire import Wire
from tuned.systemd import log
from tuned.trial import process_table
from tuned.trial.cgroup import Root

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


#: How long the keeper of a daemon that is gone may take to end.
OTHER_SECONDS = 20.0

PAUSE_SECONDS = 0.02


def main(descriptor: int) -> NoReturn:
    asyncio.run(_serve(socket.socket(fileno=descriptor)))
    # As the daemon: an orderly end of the interpreter would wait for a disk that hangs.
    os._exit(0)


async def _serve(connected: socket.socket) -> None:
    _outlive_signals()
    wire = await Wire.on(connected)
    line = await wire.receive()
    hello = None if line is None else protocol.to_keeper(line)
    if hello is None or hello["kind"] != "hello":
        return
    log.configure(hello["log_format"], host=hello["host"])
    async with _alone(Path(hello["lock"])):
        await _clear_leftovers(hello)
        ready: protocol.Ready = {"kind": "ready", "version": protocol.VERSION, "pid": os.getpid()}
        wire.send(protocol.encoded(ready))
        await Service(Runs(hello["slots"]), wire, hello["host"]).serve()


def _outlive_signals() -> None:
    """It ends with its daemon, and not before: a service manager and a terminal may signal both."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, and not SIG_IGN, which programs would inherit.
        asyncio.get_running_loop().add_signal_handler(number, _go_on)


def _go_on() -> None:
    pass


@contextlib.asynccontextmanager
async def _alone(lock: Path) -> AsyncIterator[None]:
    """While no other keeper of this installation lives: one whose daemon was killed is about to end.

    One that takes too long hangs, and is killed.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(lock, flags, 0o600), "r+") as file:
        deadline = time.monotonic() + OTHER_SECONDS
        while not files.lock(file.fileno()):
            if time.monotonic() > deadline:
                _kill_holder(file)
            await asyncio.sleep(PAUSE_SECONDS)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _kill_holder(file: TextIO) -> None:
    file.seek(0)
    pid = file.read(20).strip()
    file.seek(0)
    if pid.isdecimal():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(pid), signal.SIGKILL)


async def _clear_leftovers(hello: protocol.Hello) -> None:
    """Kills processes that an earlier keeper left, and adopts those that trials will leave."""
    process_table.become_subreaper()
    await process_table.kill_installation(hello["installation"])
    if hello["cgroups"] is not None:
        await Root(Path(hello["cgroups"])).kill_leftovers(hello["installation"])


if __name__ == "__main__":
    main(int(sys.argv[1]))
