"""Removes from this host the files, outputs and checkpoints of experiments that a person deleted.

This room owns the tombstones that the host knows. It must never remove anything of a study without one.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import structlog

from tuned.daemon.trials.chores import done
from tuned.disk import leftovers
from tuned.disk.arrivals import SUFFIX, Folder
from tuned.errors import InvalidInput
from tuned.experiment.experiment import parse
from tuned.experiment.likeness import defines
from tuned.keeper.chores import announcing, removing
from tuned.storage.deletions import NO_TOMBSTONES
from tuned.storage.shared_files import news

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.trials.chores import Doer
    from tuned.disk.layout import Layout
    from tuned.disk.spool import Spool
    from tuned.storage.deletions import Tombstone
    from tuned.storage.link import Link
    from tuned.storage.shared_files import Offer

_log: FilteringBoundLogger = structlog.get_logger()


class Deletions:
    """The deleted experiments, as one host sees them. Belongs to the event loop's thread."""

    def __init__(
        self, link: Link, spool: Spool, layout: Layout, doer: Doer, on_notices: Callable[[], object]
    ) -> None:
        """``on_notices`` is called if people are to be told something."""
        self._link = link
        self._on_notices = on_notices
        self._spool = spool
        self._layout = layout
        self._doer = doer
        self._known = NO_TOMBSTONES
        #: Uids whose outputs could not be removed, so that each is told once.
        self._left: set[str] = set()
        #: The second of two removals at once would stumble over the first.
        self._one_at_a_time = asyncio.Lock()

    async def look(self) -> Sequence[Offer]:
        """Learns what has been deleted; returns the open studies of which the database has the file.

        One statement asks for all, because each idle host asks at each beat. Raises DatabaseAway.
        """
        found = await self._link.call(news, self._known)
        self._known = found.tombstones
        if found.has_notices:
            self._on_notices()
        return found.offers

    def has(self, uid: str) -> bool:
        """Whether a study was deleted, as of the last look."""
        return uid in self._known.by_uid

    async def announce(self, uid: str) -> None:
        """Notes on the disk that this host takes part in a study."""
        try:
            await done(self._doer.step, announcing(uid))
        except OSError as error:
            _log.warning("no directory for outputs", error=str(error))

    async def clear(self, *, but_not: Collection[str] = (), is_starting: bool = False) -> None:
        """Removes all that deleted studies left here, except those that still run, by uid.

        At a start, that includes their files in ``active/``. Later, such a file may be a new experiment's.
        """
        async with self._one_at_a_time:
            await self._clear(but_not, is_starting=is_starting)

    async def _clear(self, but_not: Collection[str], *, is_starting: bool) -> None:
        here = await asyncio.to_thread(leftovers.studies, self._layout)
        for uid in (here & self._known.by_uid.keys()) - set(but_not):
            tombstone = self._known.by_uid[uid]
            try:
                if is_starting:
                    await asyncio.to_thread(self._spool.discard_all, [Folder.ACTIVE], _runs(tombstone))
                ended = (Folder.DONE, Folder.CANCELLED)
                await asyncio.to_thread(self._spool.discard_all, ended, _ran(tombstone))
                await done(self._doer.step, removing(tombstone.name, uid))
            except OSError as error:
                if uid not in self._left:
                    self._left.add(uid)
                    _log.error("outputs not removed", experiment=tombstone.name, error=str(error))
                continue
            self._left.discard(uid)
            _log.warning(
                "deleted experiment removed from this host", experiment=tombstone.name, study_uid=uid
            )


def _runs(tombstone: Tombstone) -> Callable[[str, bytes], bool]:
    """Whether a file in ``active/`` is of this experiment: there is one of a name at most."""

    def is_it(file: str, content: bytes) -> bool:
        try:
            return parse(content, file).name == tombstone.name
        except InvalidInput:
            return False

    return is_it


def _ran(tombstone: Tombstone) -> Callable[[str, bytes], bool]:
    """Whether a file in ``done/`` or ``cancelled/``, where names may have numbers, is of this experiment."""
    numbered = re.compile(rf"{re.escape(tombstone.name)}(\.[0-9]+)?{re.escape(SUFFIX)}")

    def is_it(file: str, content: bytes) -> bool:
        said = f"{tombstone.name}{SUFFIX}" if numbered.fullmatch(file) else file
        return defines(content, said, tombstone.definition)

    return is_it
