"""The answer about rows that cannot be understood: a reason for people, beside what can be answered.

It must never read a row itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import structlog

from tuned.errors import Conflict, TunedError
from tuned.storage.connection.faults import reason_of

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.protocol.experiments import ExperimentSummary

_log: FilteringBoundLogger = structlog.get_logger()


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Raises Conflict, for a person to read, if rows in the database cannot be understood."""
    try:
        yield
    except TunedError:
        raise
    except Exception as error:
        reason = reason_of(error)
        # Without its traceback, because status may be asked every second.
        _log.warning("rows not understood", reason=reason)
        raise Conflict(f"cannot read this in the database: {reason}") from error


def unreadable(name: str, note: str) -> ExperimentSummary:
    """An experiment of which only the name can be read."""
    return {
        "name": name,
        "state": "unreadable",
        "note": note,
        "ended_by": None,
        "origin": "",
        "is_paused_here": False,
        "priority": 0,
        "directions": [],
        "running": 0,
        "counts": {
            "complete": 0,
            "reused": 0,
            "failed": 0,
            "skipped": 0,
            "pruned": 0,
            "running": 0,
            "waiting": 0,
        },
        "trials": 0,
        "trials_limit": None,
        "evaluations": 0,
        "evaluations_limit": None,
        "seconds_left": None,
        "target": None,
        "stalled": 0,
        "stalled_limit": None,
        "space_size": None,
        "visited": 0,
        "started": None,
        "best": None,
        "nearest": None,
    }
