"""A daemon that makes room for its successor: the process executes anew the command by which it began.

A service ends instead, and the service manager begins another one, with the unit and rights as they are now.

Nothing is ended before: what a daemon leaves when it is killed is all that the next one needs. This room must
never kill anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

import structlog

from tuned.config.paths import default_paths, is_service
from tuned.domain.states import HostState
from tuned.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()

#: RestartForceExitStatus= of the unit.
RESTART_STATUS = 75

#: In the state directory: the unit makes no pause before it starts a daemon that has left this.
RESTARTING = "restarting"

#: For the answer to the one who asked, which is still under way.
ANSWER_SECONDS = 0.2


class Restart:
    """Belongs to the event loop's thread."""

    def __init__(
        self, environ: Mapping[str, str], state: Callable[[], HostState], on_request: Callable[[], object]
    ) -> None:
        self._environ = environ
        self._state = state
        self._on_request = on_request
        self.is_wanted = False

    def request(self) -> HostState:
        """Returns the state to which the host comes back. Raises Conflict if it cannot be."""
        if self._state() is not HostState.RUNNING:
            raise Conflict(f"cannot restart: this host is {self._state()}")
        self.is_wanted = True
        self._on_request()
        return self._state()

    async def carry_out(self, written: Callable[[], Awaitable[None]], leave: Callable[[], object]) -> None:
        """With the code and the settings as they are now. Returns only if a stop came, or there is no Python.

        ``written`` waits until results are on the disk, and ``leave`` leaves trials to the successor; open
        files and connections close by themselves.
        """
        self.is_wanted = False
        await written()
        await asyncio.sleep(ANSWER_SECONDS)
        if self._state() is not HostState.RUNNING:
            return
        _log.info("host restarts")
        if is_service(self._environ):
            leave()
            self._announce()
            os._exit(RESTART_STATUS)
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (the command by which it began)
        except OSError as error:
            _log.error("cannot restart", error=str(error))

    def _announce(self) -> None:
        with contextlib.suppress(OSError):
            (default_paths(self._environ).state_dir / RESTARTING).touch()
