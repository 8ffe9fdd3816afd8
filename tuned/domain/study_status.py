"""The status of a study in the database at one moment, and whether it is full, exhausted or over.

Owns a value that somebody read; it must never read or change anything itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tuned.domain.states import StudyState


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStatus:
    """The counters and limits of a study at one moment."""

    study_id: int
    uid: str
    definition: str
    #: Of the definition: each replacement adds one.
    revision: int
    state: StudyState
    seed: int
    size: int | None
    trials: int
    trials_limit: int | None
    evaluations: int
    evaluations_limit: int | None
    #: The time left for new trials to start: all of it before the first claim, None without a limit.
    seconds_left: float | None
    visited: int
    #: Why it ends or has ended, for people; None while nothing has ended it.
    ended_by: str | None = None
    #: Whether running trials are killed when its values, a trial or its time end it.
    aborts: bool = False
    #: Other programs have ended trials that nobody has held against the target yet.
    has_unjudged: bool = False
    #: Points that were aborted or lost. Hosts evaluate them again before they draw new ones.
    free: int = 0
    #: Points that a host of the fleet holds now.
    held: int = 0
    #: Trials that plain Optuna enqueued, by id.
    waiting: tuple[int, ...] = ()
    #: Why nobody's command but the breaker paused it; empty otherwise.
    pause_reason: str = ""
    #: The study's name in the database, which another program may have changed.
    name: str = ""
    #: Which look of this process found it: a later one has a higher number.
    look: int = field(default=0, compare=False)

    @property
    def has_ended(self) -> bool:
        return self.state in (StudyState.DONE, StudyState.CANCELLED)

    @property
    def is_full(self) -> bool:
        """No trial may start any more: the budget is used up, or something has ended the search."""
        return (
            self.ended_by is not None
            or self.is_out_of_time
            or (self.trials_limit is not None and self.trials >= self.trials_limit)
            or (self.evaluations_limit is not None and self.evaluations >= self.evaluations_limit)
        )

    @property
    def is_out_of_time(self) -> bool:
        return self.seconds_left is not None and self.seconds_left <= 0

    @property
    def is_exhausted(self) -> bool:
        return self.size is not None and self.visited >= self.size

    @property
    def needs_check(self) -> bool:
        """Something about it must be written down: that it is over, or that it may be."""
        return self.is_over or self.has_unjudged

    @property
    def is_over(self) -> bool:
        if self.aborts and (self.ended_by is not None or self.is_out_of_time):
            return True
        return self.held == 0 and (self.is_full or self.is_exhausted)
