"""A finished evaluation on its way into the database, and the answer that it gets there.

Owns all that a tell needs; the outbox keeps it on disk, so a tell may happen in another life of the daemon.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tuned.domain.ending import Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished evaluation as the outbox keeps it: all that a tell needs, also in another life."""

    study_id: int
    study_uid: str
    trial_id: int
    number: int
    key: str
    host: str
    ending: Ending


class TellOutcome(StrEnum):
    """What became of a result."""

    TOLD = "told"
    #: The trial had ended otherwise, and the value became a trial of its own.
    LATE = "late"
    #: It was told before, or its study is gone, or its point has a value already.
    DROPPED = "dropped"
