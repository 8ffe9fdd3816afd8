"""A daemon that makes room for its successor: the process executes anew the command by which it began.

A service ends instead, and the service manager begins another one, with the unit and rights as they are now.

Nothing is ended before: what a daemon leaves when it is killed is all that the next one needs. Its code and
settings are tried first, because a daemon that cannot begin would leave the host without one. This room must
never kill a trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import structlog

from tuned.config.paths import default_paths, is_service
from tuned.domain.states import HostState
from tuned.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()

#: RestartForceExitStatus= of the unit.
RESTART_STATUS = 75

#: In the state directory: the unit makes no pause before it starts a daemon that has left this.
RESTARTING = "restarting"

#: How long the successor may take to read its settings; the one who asked waits for a minute.
CHECK_SECONDS = 50.0

#: Before each error that the command ``tuned`` prints.
_PREFIX = "tuned: "

#: For the answer to the one who asked, which is still under way.
ANSWER_SECONDS = 0.2


def own_command() -> list[str]:
    """The command by which this process began."""
    return [sys.executable, *sys.orig_argv[1:]]


class Restart:
    """Belongs to the event loop's thread."""

    def __init__(
        self,
        environ: Mapping[str, str],
        state: Callable[[], HostState],
        on_request: Callable[[], object],
        command: Sequence[str],
    ) -> None:
        """The process began by this command."""
        self._command = command
        self._environ = environ
        self._state = state
        self._on_request = on_request
        self.is_wanted = False

    async def request(self) -> HostState:
        """Returns the state to which the host comes back. Raises Conflict if it would not."""
        await self.check()
        return self.begin()

    async def check(self) -> None:
        """Raises Conflict if the host would not come back."""
        self._require_running()
        if problems := await _problems([*self._command, "--check-config"]):
            _log.error("host not restarted", problems=problems)
            raise Conflict(f"cannot restart: {problems}")

    def begin(self) -> HostState:
        """After a check. Raises Conflict if the host is about to end."""
        self._require_running()
        self.is_wanted = True
        self._on_request()
        return self._state()

    def _require_running(self) -> None:
        if self._state() is not HostState.RUNNING:
            raise Conflict(f"cannot restart: this host is {self._state()}")

    async def carry_out(self, written: Callable[[], Awaitable[None]], leave: Callable[[], object]) -> None:
        """With the code and the settings as they are now. Returns only if a stop came, or there is no Python.

        ``written`` waits until keeper and disk have all that the successor needs, and ``leave`` leaves trials
        to it; open files and connections close by themselves.
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
            os.execv(self._command[0], [*self._command])  # noqa: S606 (the command by which it began)
        except OSError as error:
            _log.error("cannot restart", error=str(error))

    def _announce(self) -> None:
        with contextlib.suppress(OSError):
            (default_paths(self._environ).state_dir / RESTARTING).touch()


async def _problems(command: Sequence[str]) -> str:
    """Why a daemon that is begun by this would end at once, in its own words; empty if it would not."""
    try:
        trial = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror or error}"
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            _, printed = await trial.communicate()
    except TimeoutError:
        return f"its settings were not read within {CHECK_SECONDS:g} s"
    finally:
        if trial.returncode is None:
            trial.kill()
            await trial.wait()
    if trial.returncode == 0:
        return ""
    said = printed.decode(errors="replace").strip()
    if said.startswith(_PREFIX):
        return said.removeprefix(_PREFIX)
    # A fault of its code: the last line names it.
    return said.rpartition("\n")[2] or f"its code ends with status {trial.returncode}"
