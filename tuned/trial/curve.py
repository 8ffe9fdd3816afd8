"""The intermediate values of one attempt at a trial, by step.

However many steps a trial reports, this room must never keep more than ``MOST_STEPS`` of them and the last
report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TypedDict

from tuned.domain.ending import MOST_STEPS

#: A step is smaller: databases keep it in 32 bits.
STEPS = 2**31


@dataclass(frozen=True, slots=True)
class Report:
    """One report: a value for each objective."""

    step: int
    values: tuple[float, ...]


#: Hears of each report, and must return at once: a trial may report a thousand times a second.
OnReport = Callable[[Report], object]


def ignored(_: Report) -> None:
    """Nobody hears of reports."""


class CurveState(TypedDict):
    """All of a curve, as JSON has it."""

    kept: list[tuple[int, float]]
    last: tuple[int, list[float]] | None
    reports: int
    steps: int
    stride: int


class Curve:
    """The values of the watched objective: of all steps, or of every second, fourth, ... if they are many."""

    def __init__(self, on_report: OnReport = ignored, *, watched: int = 0) -> None:
        """``watched`` is the number of the objective: Optuna has room for one value of a step."""
        self._on_report = on_report
        self.watched = watched
        #: By step, in the order in which the steps were first reported.
        self.kept: dict[int, float] = {}
        #: The newest report, also if its step is not kept.
        self.last: Report | None = None
        #: How many reports there were.
        self.reports = 0
        #: How many of them were of a step that had not been reported before, as far as that is known.
        self.steps = 0
        self._stride = 1

    @property
    def values(self) -> dict[int, float]:
        """A copy of all that is known."""
        values = dict(self.kept)
        if self.last is not None:
            values[self.last.step] = self.last.values[self.watched]
        return values

    @property
    def newest(self) -> tuple[int, float] | None:
        """The step and the value of the newest report."""
        return None if self.last is None else (self.last.step, self.last.values[self.watched])

    def put(self, step: int, values: tuple[float, ...]) -> None:
        """Adds a report. A step that is reported again has its last value."""
        value = values[self.watched]
        self.reports += 1
        if step in self.kept:
            self.kept[step] = value
        elif self.last is None or step != self.last.step:
            self._add(step, value)
        self.last = Report(step, values)
        self._on_report(self.last)

    @property
    def state(self) -> CurveState:
        """For another process, which goes on with it."""
        last = None if self.last is None else (self.last.step, list(self.last.values))
        kept = list(self.kept.items())
        return {
            "kept": kept, "last": last, "reports": self.reports, "steps": self.steps, "stride": self._stride,
        }  # fmt: skip

    def restore(self, state: CurveState) -> None:
        """Goes on from there. Nobody hears of these reports again."""
        last = state["last"]
        self.kept = dict(state["kept"])
        self.last = None if last is None else Report(last[0], tuple(last[1]))
        self.reports, self.steps, self._stride = state["reports"], state["steps"], state["stride"]

    def _add(self, step: int, value: float) -> None:
        if len(self.kept) == MOST_STEPS:
            # Trials of one program keep the same steps, so that their curves can be compared.
            self.kept = dict(islice(self.kept.items(), 0, None, 2))
            self._stride *= 2
        if self.steps % self._stride == 0:
            self.kept[step] = value
        self.steps += 1
