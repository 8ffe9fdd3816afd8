"""The life of the keeper's process: it clears what an earlier one left, serves its daemons, and ends.

``python -m tuned.keeper.main DESCRIPTOR``: the daemon that begins it has the other end of that socket.

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
from tuned.disk.layout import Layout
from tuned.keeper import door, protocol
from tuned.keeper.chores import Chores
from tuned.keeper.records import Records
from tuned.keeper.runs import Runs
from tuned.keeper.service import Service
from tuned.keeper.wire import Wire
from tuned.systemd import log
from tuned.trial import process_table
from tuned.trial.cgroup import Root

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


#: How long another keeper of this directory, which is about to end, may take for that.
OTHER_SECONDS = 20.0

PAUSE_SECONDS = 0.02


def main(descriptor: int) -> NoReturn:
    asyncio.run(_main(socket.socket(fileno=descriptor)))
    raise AssertionError("the process has ended")


async def _main(connected: socket.socket) -> NoReturn:
    await _serve(connected)
    # As the daemon: an orderly end of the loop and the interpreter would wait for a disk that hangs.
    os._exit(0)


async def _serve(connected: socket.socket) -> None:
    outlive_signals()
    wire = await Wire.on(connected)
    line = await wire.receive()
    hello = None if line is None else protocol.to_keeper(line)
    if hello is None or hello["kind"] != "hello":
        return
    log.configure(hello["log_format"], host=hello["host"])
    directory = Path(hello["directory"])
    async with alone(directory / "lock"):
        cgroups = hello["cgroups"]
        await clear_leftovers(hello["installation"], None if cgroups is None else Root(Path(cgroups)))
        chores = Chores(Layout(path=directory.parent))
        service = Service(Runs(hello["slots"]), Records(directory / "runs"), chores)
        with door.listen(directory) as entrance:
            await service.serve(wire, hello, entrance)


def outlive_signals() -> None:
    """Only a daemon ends it: a service manager and a terminal may signal both."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, and not SIG_IGN, which programs would inherit.
        asyncio.get_running_loop().add_signal_handler(number, _go_on)


def _go_on() -> None:
    pass


@contextlib.asynccontextmanager
async def alone(lock: Path) -> AsyncIterator[None]:
    """While no other keeper of this directory lives. One that lives, and let no daemon in, is about to end.

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


async def clear_leftovers(installation: str, cgroups: Root | None) -> None:
    """Kills processes that an earlier keeper left, and adopts those that trials will leave."""
    process_table.become_subreaper()
    await process_table.kill_installation(installation)
    if cgroups is not None:
        await cgroups.kill_leftovers(installation)


if __name__ == "__main__":
    main(int(sys.argv[1]))
