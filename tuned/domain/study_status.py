"""How a study stands in the database at one moment, and what follows from that: full, exhausted, over.

A value that was read; it must never change or read anything itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuned.domain.states import StudyState


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStatus:
    """What the database says of a study at one moment."""

    study_id: int
    uid: str
    definition: str
    state: StudyState
    seed: int
    size: int | None
    trials: int
    trials_limit: int | None
    evaluations: int
    evaluations_limit: int | None
    #: Time that is left before nothing new starts: all of it before the first claim, None without a limit.
    seconds_left: float | None
    visited: int
    #: Points to be evaluated again before anything is drawn: aborted or lost.
    free: int = 0
    #: Points that a host of the fleet holds now.
    held: int = 0
    #: Trials that plain Optuna enqueued, by id.
    waiting: tuple[int, ...] = ()

    @property
    def is_full(self) -> bool:
        return (
            (self.trials_limit is not None and self.trials >= self.trials_limit)
            or (self.evaluations_limit is not None and self.evaluations >= self.evaluations_limit)
            or (self.seconds_left is not None and self.seconds_left <= 0)
        )

    @property
    def is_exhausted(self) -> bool:
        return self.size is not None and self.visited >= self.size

    @property
    def is_over(self) -> bool:
        return self.held == 0 and (self.is_full or self.is_exhausted)
