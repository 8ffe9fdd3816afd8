"""Experiments that were done on this host since the daemon started, in case they are opened again.

It owns which ones, takes their files out of ``done/`` again, and rewrites files in ``active/``. It must never
open one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from tuned.domain.states import StudyState
from tuned.errors import NotFound
from tuned.experiment.likeness import defines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import FilteringBoundLogger

    from tuned.disk.arrivals import Taken
    from tuned.disk.spool import Spool
    from tuned.domain.study_status import StudyStatus
    from tuned.search.search import Search

_log: FilteringBoundLogger = structlog.get_logger()

#: How many are watched.
MOST_ENDED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedHere:
    """An experiment that was done on this host, and the name of its file."""

    uid: str
    file: str


class Ended:
    """Belongs to the event loop's thread."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        #: The newest last, by the study's id.
        self._ended: dict[int, EndedHere] = {}
        #: Held while one is opened again: a beat would go on by the old file with a definition that is new.
        self.changing = asyncio.Lock()

    @property
    def studies(self) -> Mapping[int, EndedHere]:
        """As they are now, by the study's id."""
        return dict(self._ended)

    def remember(self, search: Search) -> None:
        """Keeps it in mind: a retry or a larger budget opens it again, and this host then goes on with it."""
        self._ended[search.status.study_id] = EndedHere(uid=search.status.uid, file=search.file)
        while len(self._ended) > MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    def forget(self, study_id: int) -> None:
        self._ended.pop(study_id, None)

    async def bring_back(self, file: str, status: StudyStatus) -> Taken | None:
        """Moves the file of an experiment that is open again to ``active/``, if it is in ``done/``."""
        if status.state not in (StudyState.OPEN, StudyState.PAUSED):
            return None

        def is_it(content: bytes) -> bool:
            return defines(content, f"{file}.toml", status.definition)

        try:
            taken = await asyncio.to_thread(self._spool.bring_back, file, is_it)
        except (OSError, ValueError) as error:
            _log.error("experiment file not brought back", file=file, error=str(error))
            return None
        self.forget(status.study_id)
        return taken

    async def rewrite(self, taken: Taken) -> None:
        """Gives the file of an active experiment another content."""
        try:
            await asyncio.to_thread(self._spool.replace, taken)
        except (NotFound, OSError) as error:
            # The next start would go on with the old local keys.
            _log.error("experiment file not replaced", file=taken.file, error=str(error))
