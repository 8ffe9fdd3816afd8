"""Experiments that were dropped on other hosts: takes their files over, and follows their local keys.

It owns which of them this host leaves alone. A file that it took over never makes a study, never goes to
``rejected/``, and gives way to a file that a person drops. It must never take one over again that a person
took out of ``active/``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from tuned.disk import leftovers
from tuned.disk.arrivals import SUFFIX, Folder, Taken
from tuned.domain.names import NAME
from tuned.errors import DatabaseAway
from tuned.experiment.experiment import defined, parse
from tuned.experiment.likeness import defines
from tuned.experiment.tables.fleet import Membership
from tuned.protocol.limits import MOST_FILE_BYTES
from tuned.search.fault import Fault, fault_after
from tuned.storage.shared_files import Offer, SharedFile, shared_file

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.config.settings import Settings
    from tuned.daemon.admission import Admission
    from tuned.daemon.scheduler import Scheduler
    from tuned.disk.spool import Spool
    from tuned.search.search import Search
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()


def membership_of(settings: Settings) -> Membership:
    """The part of the fleet that this host is."""
    return Membership(host=settings.host, labels=settings.labels, accepts=settings.accepts)


class SharedFiles:
    """Belongs to the event loop's thread."""

    def __init__(self, link: Link, spool: Spool, scheduler: Scheduler, admission: Admission) -> None:
        self._link = link
        self._spool = spool
        self._scheduler = scheduler
        self._admission = admission
        #: Offers that are not for this host, as long as they stay as they are.
        self._declined: set[Offer] = set()
        #: Of those that could not be taken over.
        self._faults: dict[Offer, Fault] = {}

    async def heed(self, offers: Sequence[Offer]) -> None:
        """Takes over what is offered to this host and is not here yet. Raises DatabaseAway."""
        self._declined &= set(offers)
        self._faults = {offer: fault for offer, fault in self._faults.items() if offer in offers}
        for search in list(self._scheduler.searches.values()):
            if search.adoption.origin and search.adoption.followed != search.status.revision:
                await self._guarded(_offer_of(search), self._follow(search))
        # Of a file that was not opened yet, nobody knows the study.
        if not self._scheduler.membership.accepts or self._scheduler.is_draining or self._admission.waiting:
            return
        for offer in offers:
            if offer not in self._declined and not self._has(offer):
                await self._guarded(offer, self._consider(offer))
        await self._admission.open()

    async def _guarded(self, offer: Offer, step: Coroutine[Any, Any, None]) -> None:
        """One study that fails must not hold up the others; it is tried again, after a growing pause."""
        last = self._faults.get(offer)
        if last is not None and not last.is_due:
            step.close()
            return
        try:
            await step
        except DatabaseAway:
            raise
        except Exception as error:  # noqa: BLE001 (a loop's edge)
            fault = self._faults[offer] = fault_after(error, last)
            if fault.is_new:
                _log.error(
                    "experiment not taken over", study_id=offer.study_id, reason=fault.reason, exc_info=error
                )
        else:
            self._faults.pop(offer, None)

    async def _consider(self, offer: Offer) -> None:
        found = await self._link.call(shared_file, offer)
        taken = None if found is None else await self._taken(offer, *found)
        if taken is None:
            self._declined.add(offer)
        else:
            self._admission.add(taken, study_id=offer.study_id)

    async def _taken(self, offer: Offer, file: SharedFile, definition: str) -> Taken | None:
        """The file in ``active/``; None if this host is not to work on it."""
        if not NAME.fullmatch(file.name) or not NAME.fullmatch(file.host):
            raise ValueError(f"{file.name!a} from {file.host!a} is no name of a file")
        if len(file.content) > MOST_FILE_BYTES:
            raise ValueError(f"it has {len(file.content)} bytes, at most {MOST_FILE_BYTES} are allowed")
        experiment = defined(definition, file.name)
        if not experiment.fleet.invites(self._scheduler.membership.host):
            return None
        if self._admission.is_resting(experiment.name):
            return None
        if offer.uid in await asyncio.to_thread(leftovers.studies, self._scheduler.layout):
            return await self._brought_back(file, definition)
        taken = Taken(name=file.name, content=file.content, origin=file.host)
        if not await asyncio.to_thread(self._spool.adopt, taken):
            _log.warning("experiment not taken over: its file's name is another's", file=taken.file)
            return None
        _log.info("experiment file taken over", experiment=experiment.name, file=taken.file, origin=file.host)
        return taken

    async def _brought_back(self, file: SharedFile, definition: str) -> Taken | None:
        """The file of an experiment that ended here and is open again; None if a person took it away."""

        def is_it(content: bytes) -> bool:
            return defines(content, file.name + SUFFIX, definition)

        ended = (Folder.DONE, Folder.CANCELLED)
        return await asyncio.to_thread(self._spool.bring_back, file.name, is_it, ended)

    async def _follow(self, search: Search) -> None:
        """Takes the local keys that a person has given to the file from which this host has its own."""
        revision = search.status.revision
        found = await self._link.call(shared_file, _offer_of(search))
        here = await asyncio.to_thread(self._spool.active_file, search.file)
        if found is not None and here is not None:
            await self._replace(search, here, found[0])
        search.adoption.followed = revision

    async def _replace(self, search: Search, here: Taken, file: SharedFile) -> None:
        # Without an origin, a person has edited it.
        search.adoption.origin = here.origin and file.host
        if not here.origin or (here.content, here.origin) == (file.content, file.host):
            return
        experiment = await asyncio.to_thread(parse, file.content, search.file + SUFFIX)
        taken = Taken(name=search.file, content=file.content, origin=file.host)
        if not await asyncio.to_thread(self._spool.replace, taken, before=here):
            return
        search.adoption.localize(experiment, search.status.revision)
        self._scheduler.assess(search)

    def _has(self, offer: Offer) -> bool:
        searches = self._scheduler.searches.values()
        return any(search.status.uid == offer.uid for search in searches) or any(
            each.study_id == offer.study_id for each in self._admission.resting
        )


def _offer_of(search: Search) -> Offer:
    status = search.status
    return Offer(study_id=status.study_id, uid=status.uid, revision=status.revision)
