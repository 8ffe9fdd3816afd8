"""The events of one experiment on this host: its state, how its trials begin and end, and what they report.

This room owns how ``experiment-state`` and the events of trials are made and published. It decides nothing,
and it never waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.domain.claim import Action
from tuned.domain.ending import Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.domain.claim import Claimed, Duplicate
    from tuned.domain.ending import Failure, Pruning
    from tuned.domain.result import Result
    from tuned.domain.states import StudyState
    from tuned.events import Events
    from tuned.protocol.trials import FailureView, PrunedView


class Announcements:
    """Tells the readers of this host's events about one experiment."""

    def __init__(self, events: Events, experiment: str) -> None:
        self._events = events
        self._experiment = experiment

    def state(self, state: StudyState, note: str, ended_by: str | None) -> None:
        self._events.publish(
            "experiment-state",
            experiment=self._experiment,
            state=state.value,
            note=note,
            ended_by=ended_by,
        )

    def started(self, claimed: Claimed, slot: int) -> None:
        self._events.publish(
            "trial-started", experiment=self._experiment, trial=claimed.number, slot=slot, attempt=1,
            params=dict(claimed.point.values),
        )  # fmt: skip

    def reported(self, claimed: Claimed, slot: int, step: int, value: float) -> None:
        """The newest intermediate value of a running trial."""
        self._events.publish(
            "trial-reported", experiment=self._experiment, trial=claimed.number, slot=slot,
            report={"step": step, "value": value},
        )  # fmt: skip

    def ended(self, result: Result) -> None:
        """The database has the result of an evaluation."""
        ending = result.ending
        self._events.publish(
            "trial-ended",
            experiment=self._experiment,
            trial=result.number,
            state=ending.state.value,
            values=_listed(ending.values),
            failure=None if ending.failure is None else _view(ending.failure),
            pruned=None if ending.pruning is None else _pruned(ending.pruning),
        )

    def duplicate(self, duplicate: Duplicate) -> None:
        """A trial was written for a duplicate, and ended without an evaluation; some get no trial."""
        if duplicate.number is None:
            return
        self._events.publish(
            "trial-ended",
            experiment=self._experiment,
            trial=duplicate.number,
            state="COMPLETE" if duplicate.action is Action.REUSE else "FAIL",
            values=_listed(duplicate.values),
            duplicate_of={"number": duplicate.twin.number, "host": duplicate.twin.host},
        )

    def aborted(self, numbers: Sequence[int]) -> None:
        """These trials were killed and settled."""
        for number in numbers:
            self._failed(number, {"cause": Cause.ABORTED.value})

    def given_back(self, number: int, failure: Failure) -> None:
        """This trial was settled, because its host cannot end it."""
        self._failed(number, _view(failure))

    def _failed(self, number: int, failure: FailureView) -> None:
        self._events.publish(
            "trial-ended", experiment=self._experiment, trial=number, state="FAIL", values=None,
            failure=failure,
        )  # fmt: skip


def _view(failure: Failure) -> FailureView:
    return {"cause": failure.cause.value, "message": failure.message}


def _pruned(pruning: Pruning) -> PrunedView:
    return {"rule": pruning.rule, "step": pruning.step, "value": pruning.value, "bound": pruning.bound}


def _listed(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
