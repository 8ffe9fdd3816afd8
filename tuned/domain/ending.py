"""How one evaluation ended: with values, pruned, or with a failure and its cause.

Owns values only; it must never decide whether to try again, or which state the point gets.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tuned.domain.constraints import attributes as constraint_attributes
from tuned.domain.constraints import violation

#: How many intermediate values a trial keeps at most, beside that of its last report.
MOST_STEPS = 10_000


class Cause(StrEnum):
    """Why an evaluation has no value."""

    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    OOM = "oom"
    NO_VALUE = "no-value"
    LOST = "lost"
    ABORTED = "aborted"
    #: It crashed, and the host is at fault: others did well meanwhile.
    HOST = "host"


#: A crashed evaluation may be tried again with the same parameters in the same trial. An evaluation that ran
#: to its end or to its time limit would only do so again.
CRASHES = frozenset({Cause.EXIT, Cause.SIGNAL, Cause.OOM})


#: An experiment that crashes so often in a row on one host rests there, and they are given back if others do
#: well.
MOST_CRASHES_IN_A_ROW = 10


#: The detail of a failure whose value is there, and is NaN.
NAN = {"value": "nan"}

#: The detail of a failure with a constraint that is NaN.
NAN_CONSTRAINT = {"constraint": "nan"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an evaluation failed, as the trial's user attribute ``FAILURE`` keeps it."""

    cause: Cause
    message: str
    #: Further facts for machines, such as ``status`` of an exit or ``signal`` by name.
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def is_crash(self) -> bool:
        """Whether the program is at fault, and not the point: not one that ran too long or came to NaN."""
        return self.cause in CRASHES or (
            self.cause is Cause.NO_VALUE
            and "nan" not in (self.detail.get("value"), self.detail.get("constraint"))
        )

    def attribute(self) -> dict[str, Any]:
        return {"cause": self.cause.value, "message": self.message, **self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """Why a rule ended a trial, as the trial's user attribute ``PRUNED`` keeps it."""

    #: The pruner, by its name in the experiment file.
    rule: str
    #: Of the report that it looked at.
    step: int
    value: float
    #: The value that would have let the trial go on; None if the rule has none.
    bound: float | None = None

    def attribute(self) -> dict[str, Any]:
        """JSON has no NaN and no infinity: they are text."""
        value = self.value if math.isfinite(self.value) else str(self.value)
        found = {"rule": self.rule, "step": self.step, "value": value}
        return found if self.bound is None else {**found, "bound": self.bound}


class EndState(StrEnum):
    """The state of a trial that ended by itself, by Optuna's name."""

    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one evaluation ended: with values, pruned, or with a failure."""

    #: Of a pruned one: its last report, or None without reports.
    values: tuple[float, ...] | None = None
    failure: Failure | None = None
    #: A rule gave the point up, or the objective itself did.
    is_pruned: bool = False
    #: Of a pruned one: the rule's reason; None if the objective gave it up without one.
    pruning: Pruning | None = None
    #: The objective asked for the end of the whole search.
    stops_search: bool = False
    #: Intermediate values by step, in the order in which they were reported. Of very many some.
    intermediate: dict[int, float] = field(default_factory=dict)
    #: User attributes that the trial gave itself, by name, as JSON.
    user_attrs: dict[str, str] = field(default_factory=dict)
    #: System attributes in Optuna's sense that a decision left on the trial, by name, as JSON.
    system_attrs: dict[str, str] = field(default_factory=dict)
    #: By name; the trial is feasible if all are 0 or below.
    constraints: dict[str, float] = field(default_factory=dict)
    #: Why earlier attempts at the same trial crashed, oldest first.
    retried: tuple[Failure, ...] = ()
    #: The values of each replicate that has some, in their order; empty without ``[replicates]``.
    replicates: tuple[tuple[float, ...], ...] = ()
    #: How many replicates began.
    begun: int = 1
    #: Seconds since 1970, by the clock of its host. The database may learn of it much later.
    ended: float = field(default_factory=time.time, compare=False)

    @property
    def attempts(self) -> int:
        return 1 + len(self.retried)

    @property
    def evaluations(self) -> int:
        """How many are charged to the budget."""
        return self.begun + len(self.retried)

    @property
    def is_feasible(self) -> bool:
        return not violation(self.constraints.values())

    @property
    def system_attributes(self) -> dict[str, Any]:
        """All that its trial gets, by the names of Optuna's attributes."""
        left = {name: json.loads(value) for name, value in self.system_attrs.items()}
        return {**left, **constraint_attributes(self.constraints)}

    @property
    def attributes(self) -> dict[str, Any]:
        """The user attributes by which its trial says how it ended."""
        attributes: dict[str, Any] = {}
        if self.failure is not None:
            attributes["FAILURE"] = self.failure.attribute()
        if self.pruning is not None:
            attributes["PRUNED"] = self.pruning.attribute()
        if self.retried:
            attributes["RETRIED"] = [failure.attribute() for failure in self.retried]
        if self.replicates:
            attributes["REPLICATES"] = [list(values) for values in self.replicates]
        return attributes

    def kept_reports(self, objectives: int) -> dict[int, float]:
        """The intermediate values that its trial has in the end.

        Optuna's TPE sampler raises an error for a pruned trial that has some beside several objectives.
        """
        return {} if objectives > 1 and self.is_pruned else self.intermediate

    @property
    def state(self) -> EndState:
        if self.failure is not None:
            return EndState.FAIL
        return EndState.PRUNED if self.is_pruned else EndState.COMPLETE

    def __post_init__(self) -> None:
        if self.failure is not None and (self.is_pruned or self.values is not None):
            raise ValueError("an ending with a failure has no values, and is not pruned")
        if self.pruning is not None and not self.is_pruned:
            raise ValueError("only a pruned ending has a rule's reason")
        if self.state is EndState.COMPLETE and self.values is None:
            raise ValueError("an ending has values, is pruned or has a failure")
