"""Where the studies of this host stand, asked for at once.

This room owns which studies cannot be read, and asks for each of those by itself, so that none hides the
others. It must never decide what becomes of an experiment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from tuned.domain.study_status import StudyStatus
from tuned.errors import DatabaseAway
from tuned.search.fault import Fault, fault_after
from tuned.storage.studies import study_statuses

if TYPE_CHECKING:
    from collections.abc import Collection

    from structlog.typing import FilteringBoundLogger

    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()


class Looks:
    """Belongs to the event loop's thread."""

    def __init__(self, link: Link) -> None:
        self._link = link
        #: Of the studies that could not be read, by id.
        self._faults: dict[int, Fault] = {}

    async def at(self, study_ids: Collection[int]) -> dict[int, StudyStatus | Fault]:
        """The status of each of these studies, or why it cannot be read. A deleted one is missing.

        Raises DatabaseAway.
        """
        self._faults = {study_id: fault for study_id, fault in self._faults.items() if study_id in study_ids}
        readable = [study_id for study_id in study_ids if study_id not in self._faults]
        due = [study_id for study_id, fault in self._faults.items() if fault.is_due]
        found: dict[int, StudyStatus] = {}
        try:
            found |= await self._link.call(study_statuses, readable) if readable else {}
        except DatabaseAway:
            raise
        except Exception:  # noqa: BLE001 (the next loop finds out which one it is, and logs it)
            due += readable
        for study_id in due:
            found |= await self._alone(study_id)
        return {**found, **self._faults}

    async def _alone(self, study_id: int) -> dict[int, StudyStatus]:
        last = self._faults.pop(study_id, None)
        try:
            return await self._link.call(study_statuses, [study_id])
        except DatabaseAway:
            raise
        except Exception as error:  # noqa: BLE001 (a loop's edge)
            fault = self._faults[study_id] = fault_after(error, last)
            if fault.is_new:
                _log.error("study cannot be read", study_id=study_id, reason=fault.reason, exc_info=error)
            return {}
