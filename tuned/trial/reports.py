"""The reports of a trial on standard output: its value, intermediate values, constraints, user attributes.

It takes bytes as they come. However much a trial prints, it must never take more than bounded memory.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuned.domain.ending import NAN, Cause, Failure
from tuned.trial.curve import STEPS
from tuned.trial.lines import Lines, Shown
from tuned.trial.notes import Notes, is_number, short
from tuned.trial.pattern import NUMBER, Match, Pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.trial.curve import Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """One result; ``problem`` says what is wrong with it, instead of values."""

    values: tuple[float, ...] = ()
    problem: str = ""


class Reports(Notes):
    """Finds the values in a trial's standard output, and other reports on itself."""

    def __init__(self, objectives: int, pattern: str | None, curve: Curve | None = None) -> None:
        super().__init__(curve)
        self._objectives = objectives
        self._pattern = None if pattern is None else Pattern(pattern)
        #: How many the pattern has found.
        self._matches = 0
        self._lines = Lines()
        self._result: _Report | None = None
        self._last_step: _Report | None = None
        self._last_line = b""

    def feed(self, chunk: bytes) -> None:
        self._read(self._lines.feed(chunk))

    @property
    def has_result(self) -> bool:
        """Whether it has printed a value that is no report of a step."""
        result = self._bare_number() or self._result
        return result is not None and not result.problem

    def finish(self) -> tuple[float, ...] | Failure:
        """The trial's values, once all of its output was fed."""
        self._read(self._lines.rest())
        result = self._bare_number() or self._result or self._last_step
        if result is None:
            return self._no_value("no value on standard output")
        if result.problem:
            return self._no_value(result.problem)
        if any(math.isnan(value) for value in result.values):
            return self._no_value("the value is NaN", NAN)
        return self.constraint_failure or result.values

    def _read(self, shown: Shown) -> None:
        self._last_line = next(filter(None, map(bytes.strip, reversed(shown.lines))), self._last_line)
        if self._pattern is not None:
            for line in shown.states:
                for match in self._pattern.matches(line.decode("utf-8", "replace")):
                    values = () if match.value is None else (match.value,)
                    self._note(_Report(values=values, problem=match.problem), self._step_of(match))
            return
        for line in shown.states:
            # In a flood of short lines there is time for one look into each.
            if b'"value' in line or b'"user_attrs"' in line or b'"constraints"' in line:
                self._parse(line)

    def _step_of(self, match: Match) -> object:
        """Its step; without a group for it matches are numbered."""
        assert self._pattern is not None
        if self._pattern.has_steps:
            return match.step
        self._matches += 1
        return self._matches - 1 if self._matches <= STEPS else None

    def _parse(self, line: bytes) -> None:
        try:
            found = json.loads(line) if line.lstrip().startswith(b"{") else None
        except (ValueError, RecursionError):
            return
        if not isinstance(found, dict):
            return
        if "user_attrs" in found:
            self.note_attributes(found["user_attrs"])
        if "constraints" in found:
            self.note_constraints(found["constraints"])
        if "value" in found or "values" in found:
            values = found["values"] if "values" in found else [found["value"]]
            self._note(self._report(values), found.get("step"))

    def _report(self, values: object) -> _Report:
        if not isinstance(values, list) or not all(is_number(value) for value in values):
            return _Report(problem=f"found {short(values)}, expected numbers")
        if len(values) != self._objectives:
            return _Report(problem=f"found {len(values)} values, expected {self._objectives}")
        try:
            return _Report(values=tuple(float(value) for value in values))
        except OverflowError:
            return _Report(problem=f"found {short(values)}, expected numbers that a float can hold")

    def _note(self, report: _Report, step: object) -> None:
        if step is None:
            self._result = report
            return
        index = _step(step)
        if index is None:
            self._result = _Report(problem=f"found step {short(step)}, expected an integer from 0")
            return
        self._last_step = report
        if len(report.values) == self._objectives:
            self.curve.put(index, report.values)

    def _bare_number(self) -> _Report | None:
        if self._pattern is not None or self._objectives != 1 or len(self._last_line) > 64:
            return None
        text = self._last_line.decode("utf-8", "replace")
        return _Report(values=(float(text),)) if NUMBER.fullmatch(text) else None

    def _no_value(self, problem: str, detail: Mapping[str, Any] | None = None) -> Failure:
        if self._last_line:
            problem += f"; the last line was {short(self._last_line.decode('utf-8', 'replace'))}"
        else:
            problem += "; nothing was printed there"
        return Failure(cause=Cause.NO_VALUE, message=problem, detail=dict(detail or {}))


def _step(step: object) -> int | None:
    if isinstance(step, str) and step.isdecimal() and len(step) < 10:
        return int(step)
    return step if type(step) is int and 0 <= step < STEPS else None
