"""The experiments of this host: from the spool into the scheduler, and out again when they are over.

It decides nothing about points. A file that cannot be run is rejected with its reasons; the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from tuned.daemon.admission import Admission
from tuned.daemon.code.dropped import CodeOfFiles, Reception
from tuned.daemon.deletions import Deletions
from tuned.daemon.files.ended import Ended
from tuned.daemon.files.shared_files import SharedFiles
from tuned.daemon.looks import Looks
from tuned.disk.arrivals import SUFFIX, Change, Folder, Taken, gone_of
from tuned.disk.spool import Spool
from tuned.domain.ending import Cause
from tuned.domain.result import Result, TellOutcome
from tuned.domain.states import SearchState, StudyState
from tuned.domain.study_status import StudyStatus
from tuned.errors import DatabaseAway, NotFound
from tuned.experiment.differences import differences
from tuned.experiment.experiment import parse
from tuned.search.fault import Fault
from tuned.search.search import Search
from tuned.storage.changes import Author, free_failed, replace_definition
from tuned.storage.deletions import delete_study
from tuned.storage.queries import experiments
from tuned.storage.shared_files import SharedFile
from tuned.storage.studies import set_state, study_statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.scheduler import Scheduler
    from tuned.domain.claim import Claimant
    from tuned.events import Events
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()


class Experiments:
    """Which experiments this host works on. Belongs to the event loop's thread."""

    def __init__(
        self, link: Link, spool: Spool, scheduler: Scheduler, events: Events, on_notices: Callable[[], object]
    ) -> None:
        """``on_notices`` is called if people are to be told something."""
        self._link = link
        self._spool = spool
        self._scheduler = scheduler
        self._events = events
        self._ended = Ended(spool)
        self._looks = Looks(link)
        self._deletions = Deletions(link, spool, scheduler.layout, scheduler.doer, on_notices)
        self._code = CodeOfFiles(link, spool.path)
        self.admission = Admission(link, spool, events, scheduler, code=self._code, on_open=self._begin)
        self._shared = SharedFiles(link, spool, scheduler, self.admission)
        #: Why nothing new can be taken; empty while it can.
        self.spool_problem = ""

    @property
    def searches(self) -> dict[str, Search]:
        return self._scheduler.searches

    def search_of(self, study_name: str) -> Search | None:
        """By the name that the study has now: another program may have renamed it."""
        return next((search for search in self.searches.values() if search.status.name == study_name), None)

    async def restore(self) -> None:
        """Takes up the files that were in ``active/`` when an earlier daemon ended."""
        with contextlib.suppress(DatabaseAway):
            await self._deletions.look()
        await self._deletions.clear(is_starting=True)
        try:
            found = await asyncio.to_thread(self._spool.active)
        except OSError:
            _log.exception("files in active/ not read")
            return
        for taken in found:
            self.admission.add(taken)

    async def watch(self, on_watched: Callable[[], None]) -> None:
        """Takes files as they come, as long as the spool is there.

        It calls ``on_watched`` once no arriving file can be missed any more.
        """
        try:
            async for change in self._spool.changes():
                on_watched()
                await self._heed_spool(change)
        except NotFound as error:
            self._lose_spool(error)

    async def _heed_spool(self, change: Change) -> None:
        try:
            if Change.ACTIVE in change:
                await self._notice_withdrawn()
            if Change.ARRIVALS in change:
                await self.take()
        except NotFound as error:
            self._lose_spool(error)
        except Exception:  # noqa: BLE001 (a loop's edge)
            # The next beat looks again.
            _log.exception("spool not looked at")

    def _lose_spool(self, error: NotFound) -> None:
        # The running trials go on; they may be worth days.
        self.spool_problem = f"{error}; put it back and restart the daemon"
        _log.error("spool gone", problem=self.spool_problem)

    async def take(self) -> None:
        """Takes the new files of the spool. They wait if the database is away."""
        intake = Reception(self._code, {s.file: s.experiment for s in self.searches.values()})
        while taken := await asyncio.to_thread(self._spool.take, intake=intake):
            # One that is being opened may be the one whose place a new file has taken.
            async with self.admission.opening:
                for one in taken:
                    await self._take(one)
        for file, problems in await asyncio.to_thread(self._spool.refusals):
            self.admission.announce_rejection(file, problems)
        for name in await asyncio.to_thread(self._spool.unchanged):
            async with self.admission.opening:
                self.admission.own(name)
                if search := self.search_from(name):
                    search.adoption.origin = ""
                    self._scheduler.assess(search)
            self._events.publish("experiment-same", file=f"{name}{SUFFIX}")
        await self.admission.open()

    async def _take(self, taken: Taken) -> None:
        search = self.search_from(taken.name)
        if search is None:
            self.admission.add_new(taken)
            return
        # It is in the place of one from another host: the fleet's keys are the same.
        experiment = await asyncio.to_thread(parse, taken.content, taken.file)
        search.adoption.own(experiment, search.status.revision)
        self._scheduler.assess(search)
        search.log.info("experiment file taken in place of another host's", file=taken.file)
        self._events.publish("experiment-taken", experiment=search.name, file=taken.file)

    def search_from(self, file: str) -> Search | None:
        return next((search for search in self.searches.values() if search.file == file), None)

    async def hold(self, claimant: Claimant) -> None:
        """Makes every search claim for this incarnation of the host from now on."""
        await self.admission.hold(claimant)

    async def follow(self, interval_seconds: float) -> None:
        """Loop: look where all studies stand; changes by other hosts reach this one within a beat."""
        while True:
            await self._scheduler.over(interval_seconds)
            if not self.spool_problem:
                await self._heed_spool(Change.ARRIVALS)
            try:
                await self._look_around()
            except DatabaseAway:
                await self._link.back()
            except Exception:  # noqa: BLE001 (a loop's edge)
                _log.exception("studies not looked at")
                await asyncio.sleep(interval_seconds)

    async def _look_around(self) -> None:
        self._forget_withdrawn()
        # Copied before the query: its answer may call a study open that ends below.
        ended_before = self._ended.studies
        ids = [*(search.status.study_id for search in self.searches.values()), *ended_before]
        found = await self._looks.at(ids)
        for search in list(self.searches.values()):
            await self._heed(search, found.get(search.status.study_id))
        async with self._ended.changing:
            for study_id, ended in ended_before.items():
                status = found.get(study_id)
                if isinstance(status, Fault):
                    continue
                if status is None or status.uid != ended.uid:
                    self._ended.forget(study_id)
                elif study_id in self._ended.studies:
                    await self._bring_back(ended.file, status)
        offers = await self._deletions.look()
        await self._deletions.clear(but_not={search.status.uid for search in self.searches.values()})
        await self._shared.heed(offers)
        self._scheduler.wake()

    async def _heed(self, search: Search, found: StudyStatus | Fault | None) -> None:
        """Acts on a look at one study. If that fails, the experiment rests. Raises DatabaseAway."""
        if isinstance(found, Fault):
            search.note_unreadable(found.reason)
            return
        if search.is_due:
            search.try_again()
        try:
            if found is None or found.uid != search.status.uid or found.needs_check:
                await self.check(search)
            else:
                search.look(found)
                await self._follow_state(search)
        except DatabaseAway:
            raise
        except Exception as error:  # noqa: BLE001 (a loop's edge)
            search.rest(error)

    async def check(self, search: Search) -> None:
        """Looks where a study stands, and lets it go if it is over. Raises DatabaseAway."""
        if await search.refresh():
            await self._follow_state(search)
        else:
            await self._deletions.look()
            is_deleted = self._deletions.has(search.status.uid)
            search.log.warning("experiment deleted" if is_deleted else "study deleted from the database")
            await self._end(search, None if is_deleted else Folder.CANCELLED)
        self._scheduler.wake()

    async def on_told(self, result: Result, outcome: TellOutcome) -> None:
        """Takes note that the database has a result, and wakes the slots that waited for it."""
        search = next((s for s in self.searches.values() if s.status.uid == result.study_uid), None)
        if search is None:
            if outcome is TellOutcome.DROPPED:
                is_deleted = self._deletions.has(result.study_uid)
                _log.warning("result dropped", trial=result.number, is_experiment_deleted=is_deleted)
            return
        search.announce.ended(result)
        if outcome is not TellOutcome.TOLD:
            search.log.warning("result came late", trial=result.number, became=outcome.value)
        search.note_told(result)
        is_over = search.status.is_full or search.status.is_exhausted or result.ending.stops_search
        if search.state is not SearchState.WORKING or is_over:
            await self._look_at(search)
        self._scheduler.wake()

    async def set_state(self, name: str, state: StudyState, user: str | None) -> None:
        """Pauses, resumes or cancels an experiment for the whole fleet, here at once.

        Raises NotFound, Conflict if its state does not allow it, DatabaseAway.
        """
        study_id = await self._link.call(experiments.find, name)
        await self._link.call(set_state, study_id, state, user=user)
        if search := self.search_of(name):
            if state is StudyState.OPEN:
                search.resume()
            await self.check(search)

    async def retry(self, name: str, cause: Cause | None) -> int:
        """Frees failed points of an experiment for the whole fleet, and returns how many.

        Raises NotFound, Conflict if it is cancelled, DatabaseAway.
        """
        # A beat would take the file meanwhile, and this host would not be seen to go on.
        async with self._ended.changing:
            study_id = await self._link.call(experiments.find, name)
            freed = await self._link.call(free_failed, study_id, cause)
            await self._go_on(name, study_id)
            return freed

    async def replace(
        self, name: str, content: bytes, author: Author, code_of: int | None = None
    ) -> Sequence[str]:
        """Gives an experiment the definition of a file, for the whole fleet, and this host its local keys.

        With ``code_of``, also the snapshot of this user. Returns the changes. Raises InvalidInput, NotFound,
        DatabaseAway, Conflict if it is another search.
        """
        async with self._ended.changing:
            search = self.search_of(name)
            experiment = await asyncio.to_thread(parse, content, f"{search.name if search else name}.toml")
            study_id = await self._link.call(experiments.find, name)
            if code_of is not None:
                experiment = await self._code.replacing(experiment, content, code_of)
            local = None if search is None else differences(experiment.local(), search.experiment.local())
            file = SharedFile(host=author.host, name=search.file if search else name, content=content)
            is_override = search is not None and not search.adoption.origin
            made = await self._link.call(
                replace_definition,
                study_id,
                experiment,
                author,
                local=local,
                file=file,
                is_override=is_override,
            )
            if search is not None:
                search.adoption.own(experiment, made.revision)
                await self._ended.rewrite(Taken(name=search.file, content=content))
            await self._go_on(name, study_id, content)
            if search is not None:
                self._scheduler.assess(search)
            return made.changes

    async def delete(self, name: str, *, is_forced: bool) -> int:
        """Deletes an experiment, here at once, and returns how many trials it had.

        Raises NotFound, DatabaseAway, Conflict if other programs have trials in it and it is not forced.
        """
        study_id = await self._link.call(experiments.find, name)
        deleted = await self._link.call(delete_study, study_id, name, is_forced=is_forced)
        self._ended.forget(study_id)
        await self._deletions.look()
        search = self.search_of(name)
        if search is not None and search.status.uid == deleted.uid:
            await self.check(search)
            await self._scheduler.left(search)
        await self._deletions.clear(but_not={each.status.uid for each in self.searches.values()})
        _log.warning("experiment deleted", experiment=name, trials=deleted.trials)
        return deleted.trials

    async def _go_on(self, name: str, study_id: int, content: bytes | None = None) -> None:
        """Goes on at once with a study that a person changed, if this host may; with this file, if any."""
        if search := self.search_of(name):
            search.resume()
            await self.check(search)
            return
        found = await self._link.call(study_statuses, [study_id])
        if study_id in found:
            ended = self._ended.studies.get(study_id)
            await self._bring_back(ended.file if ended else name, found[study_id], content)

    async def _bring_back(self, file: str, status: StudyStatus, content: bytes | None = None) -> None:
        """Takes up an experiment again that is open after it was done, if its file is in ``done/``."""
        taken = await self._ended.bring_back(file, status)
        if taken is not None:
            if content is not None:
                taken = Taken(name=taken.name, content=content)
                await self._ended.rewrite(taken)
            self.admission.add(taken)
            await self.admission.open()

    async def _begin(self, search: Search) -> None:
        await self._deletions.announce(search.status.uid)
        self._ended.forget(search.status.study_id)
        await self._look_at(search)

    async def _look_at(self, search: Search) -> None:
        """As ``check``; if the database is away or the look fails, the next beat looks again."""
        try:
            await self.check(search)
        except DatabaseAway:
            search.log.debug("not looked at")
        except Exception as error:  # noqa: BLE001 (a loop's edge)
            search.rest(error)

    async def _follow_state(self, search: Search) -> None:
        # Another host may have replaced which hosts it is for.
        self._scheduler.assess(search)
        if search.status.state is StudyState.DONE:
            await self._end(search, Folder.DONE)
        elif search.status.state is StudyState.CANCELLED:
            await self._end(search, Folder.CANCELLED)

    async def _end(self, search: Search, into: Folder | None) -> None:
        """Kills and settles its trials, and moves its file, or removes it."""
        if self.searches.get(search.name) is not search or search.state is SearchState.ENDING:
            return
        assert self.admission.claimant is not None
        with search.ending():
            await self._scheduler.interrupt(search, self.admission.claimant.incarnation)
        del self.searches[search.name]
        try:
            if into is None:
                await asyncio.to_thread(self._spool.discard, search.file)
            else:
                await asyncio.to_thread(self._spool.retire, search.file, into)
        except NotFound:
            search.log.info("file was already gone")
        except OSError:
            search.log.exception("experiment file not moved", into=into or "deleted")
        if into is Folder.DONE:
            self._ended.remember(search)
        search.log.info(
            "experiment over",
            became=into or "deleted",
            ended_by=search.status.ended_by or into or "deleted",
            trials=search.status.trials,
            visited=search.status.visited,
        )
        search.announce_state()

    async def _notice_withdrawn(self) -> None:
        searches = list(self.searches.values())
        gone = await asyncio.to_thread(gone_of, self._spool.path, [search.file for search in searches])
        for search in searches:
            # The end of an experiment takes its file out of ``active/`` too.
            if search.file in gone and search.state is not SearchState.ENDING:
                search.withdraw()
        self._forget_withdrawn()

    def _forget_withdrawn(self) -> None:
        for search in list(self.searches.values()):
            if search.state is SearchState.WITHDRAWN and not search.busy:
                del self.searches[search.name]
