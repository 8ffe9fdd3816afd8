"""The reports of a Python objective, as ``worker/channel`` sends them: its end, its notes and its question.

It takes bytes as they come, and trusts none of them: the objective's own process sends them. It must never
take more than bounded memory.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from tuned.domain.ending import NAN, Cause, Failure
from tuned.trial.curve import STEPS
from tuned.trial.lines import Lines
from tuned.trial.notes import Notes
from tuned.worker.channel import ASK, ASK_PRUNING

if TYPE_CHECKING:
    from tuned.trial.curve import Curve

#: How much of a message is kept.
_MESSAGE_CHARACTERS = 300


class ObjectiveReports(Notes):
    """The reports of one attempt."""

    def __init__(self, objectives: int, curve: Curve | None = None) -> None:
        super().__init__(curve)
        self._objectives = objectives
        self._lines = Lines()
        self._values: list[Any] | None = None
        self._problem = ""
        #: The question to which the objective waits for an answer.
        self.question: str | None = None

    def feed(self, chunk: bytes) -> None:
        for line in self._lines.feed(chunk).lines:
            self._read(line)

    @property
    def has_result(self) -> bool:
        return self._values is not None

    def finish(self) -> tuple[float, ...] | Failure:
        """The values, or the last report of a pruned trial, once all was fed."""
        if self._values is None:
            why = self._problem or self.error or "the function ended the process before it returned"
            return Failure(cause=Cause.NO_VALUE, message=why)
        wanted = (0, self._objectives) if self.is_pruned else (self._objectives,)
        if not all(isinstance(value, float) for value in self._values) or len(self._values) not in wanted:
            found = f"the function returned {len(self._values)} values, expected {self._objectives}"
            return Failure(cause=Cause.NO_VALUE, message=found)
        if any(math.isnan(value) for value in self._values):
            return Failure(cause=Cause.NO_VALUE, message="the value is NaN", detail=NAN)
        return self.constraint_failure or tuple(self._values)

    def _read(self, line: bytes) -> None:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(found, dict):
            return
        if found in (ASK, ASK_PRUNING):
            self.question = found["ask"]
        elif "step" in found:
            self._note_step(found["step"], found.get("values", [found.get("value")]))
        elif "user_attrs" in found:
            self.note_attributes(found["user_attrs"])
        elif "constraints" in found:
            self.note_constraints(found["constraints"])
        elif found.get("stop") is True:
            self.stops_search = True
        else:
            self._note_end(found)

    def _note_step(self, step: object, values: object) -> None:
        if type(step) is not int or not 0 <= step < STEPS or not isinstance(values, list):
            return
        if len(values) == self._objectives and all(isinstance(value, float) for value in values):
            self.curve.put(step, tuple(values))

    def _note_end(self, found: dict[str, Any]) -> None:
        if isinstance(values := found.get("values", found.get("pruned")), list):
            self._values, self.is_pruned = values, "pruned" in found
        elif isinstance(problem := found.get("problem"), str):
            self._problem = problem[:_MESSAGE_CHARACTERS]
        elif isinstance(error := found.get("error"), str):
            self.error = error[:_MESSAGE_CHARACTERS]
