"""Duplicates of held points: they wait until their twins have ended, and are then claimed again.

They wait without a slot, a trial or a charge. This room must never draw or claim.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from tuned.domain.claim import Candidate, Duplicate


class Parked:
    def __init__(self) -> None:
        self._parked: list[Duplicate] = []
        #: Their twins have ended: to be claimed again.
        self._ready: deque[Candidate] = deque()

    def __len__(self) -> int:
        return len(self._parked) + len(self._ready)

    def park(self, duplicate: Duplicate) -> None:
        self._parked.append(duplicate)

    def release(self, trial_id: int) -> None:
        """Makes the duplicates of a trial that has ended ready to be claimed."""
        self._release(lambda duplicate: duplicate.twin.trial_id == trial_id)

    def release_all(self) -> None:
        """Makes all ready, because any twin may have ended; one whose twin still runs is parked again."""
        self._release(lambda _: True)

    def next_ready(self) -> Candidate | None:
        """Takes out the next candidate to be claimed."""
        return self._ready.popleft() if self._ready else None

    @property
    def enqueued(self) -> set[int]:
        """The enqueued trials among them, by id: each stays WAITING until its twin has ended."""
        candidates = [*(duplicate.candidate for duplicate in self._parked), *self._ready]
        return {each.waiting_trial for each in candidates if each.waiting_trial is not None}

    def _release(self, has_ended: Callable[[Duplicate], bool]) -> None:
        # Marked, so that a candidate that is parked again is not counted twice.
        self._ready.extend(
            replace(each.candidate, was_parked=True) for each in self._parked if has_ended(each)
        )
        self._parked = [each for each in self._parked if not has_ended(each)]
