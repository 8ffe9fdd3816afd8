"""Begins experiments: from a taken file to a study in the database and a search on this host.

This room owns the files that were taken and are not open yet. It must never open two at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from tuned.errors import Conflict, DatabaseAway, InvalidInput, NotFound, Problem, TunedError
from tuned.experiment.differences import differences, ways_out
from tuned.experiment.experiment import Experiment, parse
from tuned.experiment.samplers import missing_packages
from tuned.experiment.scope import Scope
from tuned.search.fault import Fault, fault_after
from tuned.search.search import Search
from tuned.storage.encoding import Encoding
from tuned.storage.shared_files import SharedFile
from tuned.storage.studies import open_study

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.code.dropped import CodeOfFiles
    from tuned.daemon.scheduler import Scheduler
    from tuned.disk.arrivals import Taken
    from tuned.disk.spool import Spool
    from tuned.domain.claim import Claimant
    from tuned.domain.study_status import StudyStatus
    from tuned.events import Events
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class Unopened:
    """A file in ``active/`` that is not open yet."""

    taken: Taken
    #: A person submitted it just now.
    is_new: bool
    #: Why it could not be opened; None if that was not tried, or the database is away.
    fault: Fault | None = None
    #: The names of its experiment and of its study, as far as they are known.
    experiment: str = ""
    study_id: int | None = None


class _Unfit(Conflict):
    """The file and the study do not fit. A person may change either, so the file stays where it is."""


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
        *,
        code: CodeOfFiles,
        on_open: Callable[[Search], Awaitable[None]],
    ) -> None:
        self._link = link
        self._spool = spool
        self._events = events
        self._scheduler = scheduler
        self._code = code
        self._on_open = on_open
        #: The incarnation that claims, once this host has joined the fleet.
        self.claimant: Claimant | None = None
        #: By the name of the file.
        self._unopened: dict[str, Unopened] = {}
        #: Held while files are opened. A file that may be opened just now is only changed under it.
        self.opening = asyncio.Lock()

    @property
    def waiting(self) -> list[str]:
        """Files that wait for the database, by name."""
        return sorted(name for name, unopened in self._unopened.items() if unopened.fault is None)

    @property
    def resting(self) -> list[Unopened]:
        """Files that cannot be opened for now, each with its fault."""
        return [unopened for unopened in self._unopened.values() if unopened.fault is not None]

    def add_new(self, taken: Taken) -> None:
        """Queues a file that a person submitted just now."""
        self._unopened[taken.name] = Unopened(taken=taken, is_new=True)

    def add(self, taken: Taken, study_id: int | None = None) -> None:
        """Queues a file that nobody dropped here just now; one that is queued as new stays new.

        Its study's id may be known already.
        """
        self._unopened.setdefault(taken.name, Unopened(taken=taken, is_new=False, study_id=study_id))

    def own(self, name: str) -> None:
        """A queued file of another host is also this host's own from now on."""
        if unopened := self._unopened.get(name):
            unopened.taken = replace(unopened.taken, origin="")

    def is_resting(self, experiment: str) -> bool:
        """Whether a file of this experiment cannot be opened for now."""
        return any(unopened.experiment == experiment for unopened in self.resting)

    async def hold(self, claimant: Claimant) -> None:
        """Makes every search claim for this incarnation of the host from now on."""
        # Waits for an experiment that is being opened for the last incarnation.
        async with self.opening:
            self.claimant = claimant
            for search in list(self._scheduler.searches.values()):
                try:
                    await search.hold(claimant)
                except DatabaseAway:
                    raise
                except Exception as error:  # noqa: BLE001 (one experiment must not keep the host from joining)
                    await self._begin_anew(search, error)
        await self.open()

    async def open(self) -> None:
        """Opens the studies of the waiting files. If the database is away, the files stay queued."""
        async with self.opening:
            if self.claimant is None:
                return
            for name, unopened in list(self._unopened.items()):
                if unopened.fault is not None and not unopened.fault.is_due:
                    continue
                try:
                    search = await self._open_or_reject(unopened, self.claimant)
                except DatabaseAway:
                    return
                except Exception as error:  # noqa: BLE001 (a loop's edge)
                    self._rest(unopened, error)
                    continue
                # Before the next await: a second opening would reject it as a second file for its study.
                del self._unopened[name]
                if search is not None:
                    await self._on_open(search)
            await self._scheduler.adoptions.give_up(self._expects)

    def announce_rejection(self, file: str, problems: str) -> None:
        """Tells the readers of events that a file went to ``rejected/``, before or after it was taken."""
        self._events.publish("experiment-rejected", file=file, message=problems)

    def _expects(self, experiment: str) -> bool:
        """Whether a file that is not open yet may be of this experiment."""
        return any(each.experiment in (experiment, "") for each in self._unopened.values())

    async def _open_or_reject(self, unopened: Unopened, claimant: Claimant) -> Search | None:
        if unopened.fault is not None:
            # A person may have mended it.
            found = await asyncio.to_thread(self._spool.active_file, unopened.taken.name)
            unopened.taken = unopened.taken if found is None else found
        try:
            return await self._open(unopened, claimant)
        except (DatabaseAway, _Unfit):
            raise
        except TunedError as error:
            if unopened.taken.origin:
                await self._let_go(unopened.taken, error)
            else:
                await self._reject(unopened.taken, str(error))
            return None

    async def _let_go(self, taken: Taken, error: TunedError) -> None:
        """Nobody here dropped the file: without a study it goes, otherwise it waits. Raises _Unfit."""
        if not isinstance(error, NotFound):
            raise _Unfit(str(error)) from error
        if await asyncio.to_thread(self._spool.discard, taken.name, before=taken):
            _log.warning("experiment file removed: it was another host's", file=taken.file, reason=str(error))

    async def _open(self, unopened: Unopened, claimant: Claimant) -> Search | None:
        """Opens the study of a file and begins its search; None if the file has gone meanwhile."""
        taken = unopened.taken
        if not await asyncio.to_thread(self._spool.is_active, taken.name):
            return None
        experiment = await asyncio.to_thread(parse, taken.content, taken.file)
        unopened.experiment = experiment.name
        if missing := await asyncio.to_thread(missing_packages, experiment.sampler.name):
            raise Conflict(f"{taken.file}: sampler.name: {missing}")
        if experiment.name in self._scheduler.searches:
            other = self._scheduler.searches[experiment.name].file
            raise Conflict(f"{taken.file}: name: study {experiment.name} is already run by {other}.toml")
        if not taken.origin:
            experiment = await self._code.given(experiment, taken.name)
        status = await self._open_study(experiment, taken, claimant.host, is_new=unopened.is_new)
        await asyncio.to_thread(self._code.drop, taken.name)
        unopened.study_id = status.study_id
        experiment = _adopted(experiment, status)
        try:
            search = await Search.begin(
                self._link,
                self._events,
                experiment,
                # Of the study, not of the file: all hosts and their claims have one space.
                encoding=Encoding(experiment.space),
                status=status,
                claimant=claimant,
                file=taken.name,
            )
        except (ValueError, TypeError, ImportError) as error:
            raise _bad_sampler(taken.file, experiment, error) from error
        search.adoption.origin = taken.origin
        search.log.info("experiment open", state=status.state.value, trials=status.trials)
        self._events.publish("experiment-taken", experiment=experiment.name, file=taken.file)
        async with self._scheduler.admitting:
            self._scheduler.admit(search)
            await self._scheduler.adoptions.admit(search)
        return search

    async def _open_study(
        self, experiment: Experiment, taken: Taken, host: str, *, is_new: bool
    ) -> StudyStatus:
        file = None if taken.origin else SharedFile(host=host, name=taken.name, content=taken.content)
        try:
            return await self._link.call(
                open_study,
                experiment,
                Encoding(experiment.space),
                is_new=is_new,
                file=file,
                is_adopted=file is None,
            )
        except Conflict as error:
            if is_new:
                raise
            # The file was good when it was submitted, and the study is another one by now.
            raise _Unfit(str(error)) from error

    async def _begin_anew(self, search: Search, error: Exception) -> None:
        """Opens a search again from its file, once the pause is over."""
        search.let_go()
        del self._scheduler.searches[search.name]
        taken = await asyncio.to_thread(self._spool.active_file, search.file)
        if taken is not None:
            unopened = self._unopened[search.file] = Unopened(
                taken=taken, is_new=False, experiment=search.name, study_id=search.status.study_id
            )
            self._rest(unopened, error)

    def _rest(self, unopened: Unopened, error: Exception) -> None:
        file = unopened.taken.file
        unopened.fault = fault = fault_after(error, unopened.fault)
        if fault.is_new:
            _log.error("experiment cannot be opened", file=file, reason=fault.reason, exc_info=error)
        else:
            _log.warning("experiment still cannot be opened", file=file, reason=fault.reason)

    async def _reject(self, taken: Taken, problems: str) -> None:
        await asyncio.to_thread(self._code.drop, taken.name)
        try:
            await asyncio.to_thread(self._spool.reject, taken.name, problems)
        except NotFound:
            return
        self.announce_rejection(taken.file, problems)


def _adopted(experiment: Experiment, status: StudyStatus) -> Experiment:
    """The study's definition with the local keys of the file. Raises _Unfit if that is another search."""
    try:
        found = differences(experiment.definition(), status.definition)
        adopted = experiment.adopt(status.definition)
    except (InvalidInput, ValueError) as error:
        raise _Unfit(str(error)) from error
    other = [each for each in found if each.scope is Scope.SEARCH]
    if other and not status.has_ended:
        raise _Unfit(
            f"its file on this host differs from the study: {'; '.join(map(str, other))}; this host works on "
            f"it again if the file says the same as the study; otherwise {ways_out(experiment.name)}"
        )
    return adopted


def _bad_sampler(file: str, experiment: Experiment, error: Exception) -> InvalidInput:
    found = f"options that Optuna refuses ({error})"
    return InvalidInput(
        Problem(
            file=file, key="sampler", found=found, expected=f"what sampler {experiment.sampler.name} takes"
        )
    )
