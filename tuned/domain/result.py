"""A finished evaluation on its way into the database, and the answer that it gets there.

Owns all that a tell needs. The outbox keeps it on disk, so a later run of the daemon may tell it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tuned.domain.claim import Origin
from tuned.domain.ending import Ending

#: So much of the end of a failed trial's output goes into the database.
MOST_OUTPUT_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamRow:
    """One parameter of one trial, as Optuna stores it."""

    param_name: str
    param_value: float
    distribution_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """How a trial began: all that is needed to write it again if the database has forgotten it."""

    claim_id: str
    origin: Origin
    #: Seconds since 1970, by this host's clock.
    started: float
    params: tuple[ParamRow, ...]
    #: The system attributes that the sampler wrote, by name, as JSON.
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished evaluation as the outbox keeps it: all that a tell needs, even after a restart."""

    study_id: int
    study_uid: str
    #: As of the claim. The database gives both again if it forgot its last transactions.
    trial_id: int
    number: int
    key: str
    host: str
    beginning: Beginning
    ending: Ending
    #: Of a failed one: the end of all that it printed, at most MOST_OUTPUT_BYTES.
    output: bytes = b""

    @property
    def claim_id(self) -> str:
        return self.beginning.claim_id


class TellOutcome(StrEnum):
    """How the database took a result."""

    TOLD = "told"
    #: The trial had ended otherwise, and the value became a trial of its own.
    LATE = "late"
    #: The database had forgotten the trial, so it was written again.
    RENEWED = "renewed"
    #: It was told before, or its point has a value already.
    KNOWN = "known"
    #: Its study is gone.
    DROPPED = "dropped"
