"""How far one evaluation has come: all by which another daemon can go on with it.

The keeper keeps it beside each run, and does not understand it. It owns values only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tuned.domain.claim import Candidate, Claimed, Origin
from tuned.domain.ending import Ending, Failure
from tuned.domain.space import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One claim, and the attempt at it that a run carries out."""

    experiment: str
    #: All of the experiment as it was at the claim, as JSON.
    definition: str
    study_uid: str
    study_id: int
    trial_id: int
    number: int
    replica: int
    claim_id: str
    claimed_at: float
    origin: Origin
    #: The point.
    values: dict[str, int | float | str | bool]
    point_key: str
    #: As the sampler wrote them, as JSON.
    attributes: dict[str, str] = field(default_factory=dict)
    waiting_trial: int | None = None
    revision: int = 1
    slot: int = 0
    cards: tuple[str, ...] = ()
    replicate: int = 1
    attempt: int = 1
    #: Charged when the attempt began.
    evaluations: int = 1
    #: Those of them that had ended by then.
    ended: int = 0
    #: In Optuna's sense, when the attempt began.
    system_attrs: dict[str, Any] = field(default_factory=dict)
    #: Why earlier attempts at the replicate crashed.
    retried: tuple[Failure, ...] = ()
    #: Of the replicates before.
    endings: tuple[Ending, ...] = ()

    def claimed(self, incarnation: str, *, trial_id: int | None = None, number: int | None = None) -> Claimed:
        """As this incarnation holds it; the database may have given its trial another number since."""
        candidate = Candidate(
            point=Point(values=self.values, key=self.point_key),
            origin=self.origin,
            attributes={name: json.loads(text) for name, text in self.attributes.items()},
            waiting_trial=self.waiting_trial,
            revision=self.revision,
            claim_id=self.claim_id,
        )
        return Claimed(
            study_id=self.study_id,
            trial_id=self.trial_id if trial_id is None else trial_id,
            number=self.number if number is None else number,
            replica=self.replica,
            candidate=candidate,
            incarnation=incarnation,
            claimed_at=self.claimed_at,
        )


_PROGRESS: TypeAdapter[Progress] = TypeAdapter(Progress)


def encode(progress: Progress) -> object:
    """As JSON."""
    found: object = _PROGRESS.dump_python(progress, mode="json")
    return found


def decode(context: object) -> Progress:
    """Raises ValueError, and nothing else, if it is none."""
    try:
        # As JSON, in which lists are tuples and words are enums, but nothing else is converted.
        return _PROGRESS.validate_json(
            json.dumps(context, ensure_ascii=False).encode(errors="replace"), strict=True
        )
    except ValidationError as error:
        raise ValueError(str(error)) from None
