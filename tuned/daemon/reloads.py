"""Reads the configuration again when a person asks for it, one time after the other.

This room owns the thread that reads, because a file may lie on a disk that hangs. It must never read in the
event loop, nor hand settings to a host that no longer runs.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

from tuned.config.settings import setting_keys
from tuned.domain.states import HostState
from tuned.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.config.settings import Settings
    from tuned.systemd.notify import Notifier

_log: FilteringBoundLogger = structlog.get_logger()


class Reloads:
    """The reloads of one host. Belongs to the event loop's thread."""

    def __init__(
        self,
        read: Callable[[], Settings],
        apply: Callable[[Settings], None],
        *,
        state: Callable[[], HostState],
        notifier: Notifier,
    ) -> None:
        self._read = read
        self._apply = apply
        self._state = state
        self._notifier = notifier
        self._is_wanted = asyncio.Event()

    def request(self) -> None:
        """Records a request. A reading under way may have missed the change, so it does not count."""
        self._is_wanted.set()

    async def run(self) -> None:
        """Loop: read the configuration once for all requests that came since the last reading began."""
        thread = ThreadPoolExecutor(1, "reload")
        try:
            while True:
                await self._is_wanted.wait()
                self._is_wanted.clear()
                if self._is_running():
                    await self._reload(thread)
        finally:
            thread.shutdown(wait=False)

    async def _reload(self, thread: ThreadPoolExecutor) -> None:
        """Reads and applies the configuration; an invalid one changes nothing."""
        self._notifier.reloading()
        try:
            settings = await asyncio.get_running_loop().run_in_executor(thread, self._read)
        except InvalidInput as error:
            _log.error("configuration not reloaded", problems=str(error))
        else:
            if self._is_running():
                self._apply(settings)
        if self._state() in (HostState.RUNNING, HostState.DRAINING):
            # In a later state the service manager knows that the host stops.
            self._notifier.ready()

    def _is_running(self) -> bool:
        state = self._state()
        if state is HostState.RUNNING:
            return True
        _log.warning("configuration not reloaded", problems=f"the host is {state}")
        return False


def needs_restart(now: Settings, then: Settings) -> set[str]:
    """The settings that differ and that a running daemon cannot take over."""
    fixed = (name for name, key in setting_keys().items() if not key.is_reloaded)
    return {name for name in fixed if getattr(now, name) != getattr(then, name)}
