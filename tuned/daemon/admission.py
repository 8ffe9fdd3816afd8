"""Begins experiments: from a taken file to a study in the database and a search on this host.

This room owns the files that were taken and are not open yet. It must never open two at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tuned.errors import Conflict, DatabaseAway, InvalidInput, NotFound, Problem, TunedError
from tuned.experiment.experiment import Experiment, parse
from tuned.experiment.samplers import missing_packages
from tuned.search.search import Search
from tuned.storage.encoding import Encoding
from tuned.storage.studies import open_study

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tuned.daemon.scheduler import Scheduler
    from tuned.disk.arrivals import Taken
    from tuned.disk.spool import Spool
    from tuned.domain.claim import Claimant
    from tuned.events import Events
    from tuned.storage.link import Link


class Admission:
    """Opens what was taken, one after the other, as soon as the database and the host's claimant let it.

    The scheduler gets what is open; ``on_open`` is awaited for each.
    """

    def __init__(
        self,
        link: Link,
        spool: Spool,
        events: Events,
        scheduler: Scheduler,
        on_open: Callable[[Search], Awaitable[None]],
    ) -> None:
        self._link = link
        self._spool = spool
        self._events = events
        self._scheduler = scheduler
        self._on_open = on_open
        #: The incarnation that claims, once this host has joined the fleet.
        self.claimant: Claimant | None = None
        #: Taken, but not opened yet; and whether a person submitted them just now.
        self._unopened: dict[str, tuple[Taken, bool]] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def waiting(self) -> list[str]:
        """Files that wait for the database, by name."""
        return sorted(self._unopened)

    def add_new(self, taken: Taken) -> None:
        """Queues a file that a person submitted just now."""
        self._unopened[taken.name] = (taken, True)

    def add(self, taken: Taken) -> None:
        """Queues a file that was in ``active/`` before; one that is queued as new stays new."""
        self._unopened.setdefault(taken.name, (taken, False))

    async def hold(self, claimant: Claimant) -> None:
        """Makes every search claim for this incarnation of the host from now on."""
        # Waits for an experiment that is being opened for the last incarnation.
        async with self._one_at_a_time:
            self.claimant = claimant
            for search in list(self._scheduler.searches.values()):
                await search.hold(claimant)
        await self.open()

    async def open(self) -> None:
        """Opens the studies of the waiting files. If the database is away, the files stay queued."""
        async with self._one_at_a_time:
            if self.claimant is None:
                return
            for name, (taken, is_new) in list(self._unopened.items()):
                try:
                    search = await self._open(taken, self.claimant, is_new=is_new)
                except DatabaseAway:
                    return
                except TunedError as error:
                    search = None
                    await self._reject(taken, str(error))
                # Before the next await: a second opening would reject it as a second file for its study.
                del self._unopened[name]
                if search is not None:
                    await self._on_open(search)

    def announce_rejection(self, file: str, problems: str) -> None:
        """Tells the readers of events that a file went to ``rejected/``, before or after it was taken."""
        self._events.publish("experiment-rejected", file=file, message=problems)

    async def _open(self, taken: Taken, claimant: Claimant, *, is_new: bool) -> Search | None:
        """Opens the study of a file and begins its search; None if the file has gone meanwhile."""
        if not await asyncio.to_thread(self._spool.is_active, taken.name):
            return None
        experiment = await asyncio.to_thread(parse, taken.content, taken.file)
        if missing := await asyncio.to_thread(missing_packages, experiment.sampler.name):
            raise Conflict(f"{taken.file}: sampler.name: {missing}")
        if experiment.name in self._scheduler.searches:
            other = self._scheduler.searches[experiment.name].file
            raise Conflict(f"{taken.file}: name: study {experiment.name} is already run by {other}.toml")
        encoding = Encoding(experiment.space)
        status = await self._link.call(open_study, experiment, encoding, is_new=is_new)
        experiment = experiment.adopt(status.definition)
        try:
            search = await Search.begin(
                self._link,
                self._events,
                experiment,
                encoding=encoding,
                status=status,
                claimant=claimant,
                file=taken.name,
            )
        except (ValueError, TypeError, ImportError) as error:
            raise _bad_sampler(taken.file, experiment, error) from error
        search.log.info("experiment open", state=status.state.value, trials=status.trials)
        self._events.publish("experiment-taken", experiment=experiment.name, file=taken.file)
        self._scheduler.admit(search)
        return search

    async def _reject(self, taken: Taken, problems: str) -> None:
        try:
            await asyncio.to_thread(self._spool.reject, taken.name, problems)
        except NotFound:
            return
        self.announce_rejection(taken.file, problems)


def _bad_sampler(file: str, experiment: Experiment, error: Exception) -> InvalidInput:
    found = f"options that Optuna refuses ({error})"
    return InvalidInput(
        Problem(
            file=file, key="sampler", found=found, expected=f"what sampler {experiment.sampler.name} takes"
        )
    )
