"""The runs of one host: each is forked from the server of its program, and watched to its end.

It must never know a study, or decide whether something is tried again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from tuned.disk import trial_log
from tuned.systemd import log
from tuned.trial import process
from tuned.trial.fork_servers import ForkServers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tuned.domain.ending import Ending
    from tuned.trial.keeping import Kept, Run, Watcher


class Runs:
    """A keeper without a process of its own. Belongs to the event loop's thread."""

    def __init__(self, slots: int) -> None:
        self._servers = ForkServers(slots)

    async def run(self, run: Run, watcher: Watcher) -> Ending:
        """Carries it out. Cancelled: kills its whole tree, then the cancellation goes on. Raises OSError."""
        start = self._servers.start_of(run.study, run.program, watcher.on_unforked)
        with structlog.contextvars.bound_contextvars(**run.fields):
            try:
                return await process.run(
                    run.launch,
                    start,
                    watcher.curve,
                    log.trial_output,
                    watcher.answer,
                    verdict=watcher.verdict,
                )
            finally:
                log.trial_output_ended()

    def kept(self) -> Sequence[Kept]:
        """None: they end with this process."""
        return ()

    async def resume(self, run: Run, watcher: Watcher) -> Ending:
        """Not for any run."""
        del watcher
        raise LookupError(run.key)

    async def end(self, key: str) -> None:
        """Not for any run."""

    def forget(self, key: str) -> None:
        """Nothing is kept here."""

    def note(self, key: str, notes: Mapping[str, object]) -> None:
        """Nobody else goes on with it."""

    def keep(self, studies: Collection[str | None]) -> None:
        self._servers.keep(studies)

    def resize(self, slots: int) -> None:
        self._servers.resize(slots)

    async def written(self) -> None:
        await trial_log.all_written()

    async def close(self) -> None:
        await self._servers.close()
