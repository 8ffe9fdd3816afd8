"""The keeper as a service of its own, whose user runs the trials: ``python -m tuned.keeper.unit HOME``.

The service manager listens on the socket for it, and begins it when a daemon speaks there; so a trial, which
runs as the same user, can neither connect to it nor take its place. It ends when a daemon says so, when
nothing needs it any more, or by SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tuned.config import gpus
from tuned.disk import files
from tuned.disk.layout import Layout
from tuned.keeper import main as process
from tuned.keeper.chores import Chores
from tuned.keeper.records import Records
from tuned.keeper.runs import Runs
from tuned.keeper.service import Service, hello_of
from tuned.keeper.wire import Wire
from tuned.systemd import log
from tuned.systemd.notify import Notifier, watchdog_interval_seconds
from tuned.trial import cgroup
from tuned.trial.launch import own_environment

if TYPE_CHECKING:
    from tuned.keeper import protocol

#: SD_LISTEN_FDS_START
_ENTRANCE = 3

_PR_SET_DUMPABLE = 4


def main(home: Path) -> NoReturn:
    hide()
    log.configure("auto", host=os.uname().nodename)
    os.set_inheritable(_ENTRANCE, False)
    asyncio.run(_main(home, socket.socket(fileno=_ENTRANCE)))
    raise AssertionError("the process has ended")


def hide() -> None:
    """From now on no process of the same user can trace this one, or read its memory."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


async def _main(home: Path, entrance: socket.socket) -> NoReturn:
    serving = asyncio.create_task(serve(home, entrance))
    process.outlive_signals()
    # This one is the service manager's word that nothing may be left.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    watching = asyncio.create_task(_ping_watchdog())
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    watching.cancel()
    os._exit(0)


async def serve(home: Path, entrance: socket.socket) -> None:
    """Serves the daemons that come, until nothing needs it. Cancelled: kills all that runs first."""
    layout = Layout(path=home)
    for directory in (layout.trials, layout.points, layout.code):
        files.make_directory(directory, 0o750)
    files.make_directory(layout.keeper, 0o700)
    surroundings = _surroundings()
    async with process.alone(layout.keeper / "lock"):
        wire, hello = await _first_daemon(entrance)
        log.configure(hello["log_format"], host=hello["host"])
        await process.clear_leftovers(hello["installation"], surroundings["cgroups"])
        records = Records(layout.keeper / "runs")
        service = Service(Runs(hello["slots"]), records, Chores(layout), surroundings)
        await service.serve(wire, hello, entrance)


def _surroundings() -> protocol.Surroundings:
    found = cgroup.find()
    groups = found if isinstance(found, cgroup.Root) else None
    reason = "" if isinstance(found, cgroup.Root) else found.reason
    cards = [*gpus.find("auto", os.environ)]
    return {"cgroups": groups, "reason": reason, "environment": own_environment(), "gpus": cards}


async def _first_daemon(entrance: socket.socket) -> tuple[Wire, protocol.Hello]:
    entrance.setblocking(False)
    while True:
        connected, _ = await asyncio.get_running_loop().sock_accept(entrance)
        wire = await Wire.on(connected)
        if (hello := await hello_of(wire)) is not None:
            return wire, hello
        wire.close()


async def _ping_watchdog() -> None:
    """Loop: say that the loop goes on, if the service manager wants to know."""
    if (pause := watchdog_interval_seconds(os.environ)) is not None:
        notifier = Notifier()
        while True:
            notifier.watchdog()
            await asyncio.sleep(pause)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
