"""Answers to the questions of Python objectives that run here: how their study stands, and whether to end.

It must never let a trial wait for an answer that does not come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from tuned.daemon.retrying import insisted
from tuned.storage.queries.facts import study_facts
from tuned.worker.channel import ASK

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.trials.judge import Case, Judge
    from tuned.storage.link import Link
    from tuned.worker.channel import StudyFacts

_log: FilteringBoundLogger = structlog.get_logger()


class Questions:
    """Belongs to the event loop's thread."""

    def __init__(self, link: Link, judge: Judge) -> None:
        self._link = link
        self._judge = judge

    async def answer(self, study_id: int, case: Case | None, question: str) -> object:
        """Without a database, it waits for that."""
        if question == ASK["ask"]:
            return await self._facts_of(study_id)
        return None if case is None else await self._judge.is_to_end(case)

    async def _facts_of(self, study_id: int) -> StudyFacts | None:
        try:
            return await insisted(self._link, lambda: self._link.call(study_facts, study_id))
        except Exception:  # noqa: BLE001 (the edge of a request: its trial must not wait for ever)
            _log.exception("a trial's question cannot be answered", study_id=study_id)
            return None
