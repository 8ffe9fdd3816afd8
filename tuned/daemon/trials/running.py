"""The evaluation of a busy slot, and its end.

It owns values and words for the log. It must never begin anything.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.trials.judge import Case
    from tuned.domain.claim import Claimed
    from tuned.domain.ending import Ending
    from tuned.search.search import Search
    from tuned.trial.evaluation import Evaluation

_log: FilteringBoundLogger = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Running:
    """One trial in one slot."""

    search: Search
    #: As the database has it now; the evaluation keeps the claim that it began with.
    claimed: Claimed
    evaluation: Evaluation
    task: asyncio.Task[Ending]
    #: None if no rule looks at it.
    case: Case | None = None
    began: float = field(default_factory=time.monotonic)
    #: An earlier daemon began it.
    is_adopted: bool = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def has_begun(self) -> bool:
        """Whether the keeper has been asked for it."""
        return bool(self.evaluation.key)


async def outcome(task: asyncio.Task[Ending]) -> Ending | None:
    """Waits for an evaluation; None if only that was cancelled. If the caller is, it is cancelled first."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        raise
    return None if task.cancelled() else task.result()


def log_ending(ending: Ending, attempt: int) -> None:
    failure = ending.failure
    if failure is not None:
        _log.warning("trial failed", cause=failure.cause.value, reason=failure.message, attempt=attempt)
    elif ending.is_pruned:
        why = {} if ending.pruning is None else ending.pruning.attribute()
        _log.info("trial pruned", values=ending.values, attempt=attempt, **why)
    else:
        _log.info("trial complete", values=ending.values, attempt=attempt)
