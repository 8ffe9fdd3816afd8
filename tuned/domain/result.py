"""A finished evaluation on its way into the database, and the answer that it gets there.

Owns all that a tell needs. The outbox keeps it on disk, so a later run of the daemon may tell it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tuned.domain.ending import Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished evaluation as the outbox keeps it: all that a tell needs, even after a restart."""

    study_id: int
    study_uid: str
    trial_id: int
    number: int
    key: str
    host: str
    ending: Ending


class TellOutcome(StrEnum):
    """How the database took a result."""

    TOLD = "told"
    #: The trial had ended otherwise, and the value became a trial of its own.
    LATE = "late"
    #: It was told before, its study is gone, or its point has a value already.
    DROPPED = "dropped"
