"""The trial that a Python objective sees: as Optuna's, with parameters that are drawn already.

It tells reports and attributes on the channel, and raises an error that names it for each part of Optuna's
trials that there is not.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import operator
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from tuned.domain.attributes import LINE_BYTES, attribute_problem
from tuned.domain.constraints import MOST_CONSTRAINTS, TOO_MANY, attributes, constraint_problem
from tuned.domain.counts import counted
from tuned.worker.channel import Channel
from tuned.worker.library import imported
from tuned.worker.study import Definition, WorkerStudy, missing

#: Databases keep a step in 32 bits.
_STEPS = 2**31


class TrialPruned(Exception):
    """Gives the point up, as Optuna's exception of this name does."""


def is_pruning(error: BaseException) -> bool:
    """Whether an objective gave its point up by this error, which may be Optuna's own."""
    return isinstance(error, (TrialPruned, imported("exceptions", "TrialPruned") or TrialPruned))


class WorkerTrial:
    """It says that it is Optuna's class, for those who look at that, and has no storage and no sampler."""

    #: For an objective without Optuna.
    TrialPruned = TrialPruned

    def __init__(
        self, study: str, definition: Definition, values: Mapping[str, Any], number: int, channel: Channel
    ) -> None:
        self.study: Any = WorkerStudy(study, definition, channel)
        self._trial_id = number
        self._space = definition.space
        self._objectives = len(definition.directions)
        self._values = dict(values)
        self._began = dt.datetime.now()  # noqa: DTZ005 (as Optuna has it: local, without a zone)
        self._channel = channel
        #: A value for each objective, by step.
        self._reported: dict[int, list[float]] = {}
        #: Whether a rule looks at the trial, as far as is known.
        self._is_judged = True
        self._attributes: dict[str, Any] = {}
        self._constraints: dict[str, float] = {}

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """Whether Optuna is imported by then, nobody knows before."""
        return imported("trial", "Trial") or WorkerTrial

    @property
    def number(self) -> int:
        return self._trial_id

    @property
    def params(self) -> dict[str, Any]:
        """All of them, suggested already or not."""
        return dict(self._values)

    @property
    def relative_params(self) -> dict[str, Any]:
        return self.params

    @property
    def distributions(self) -> dict[str, Any]:
        """All of them that exist, suggested already or not."""
        return {name: each.distribution() for name, each in self._space.items() if name in self._values}

    @property
    def user_attrs(self) -> dict[str, Any]:
        return dict(self._attributes)

    @property
    def system_attrs(self) -> dict[str, Any]:
        return attributes(self._constraints)

    @property
    def constraints(self) -> dict[str, float]:
        return dict(self._constraints)

    @property
    def datetime_start(self) -> dt.datetime:
        return self._began

    @property
    def last_report(self) -> list[float]:
        """The values of the last step, as Optuna gives them to a pruned trial; empty if one is no number."""
        last = self._reported[max(self._reported)] if self._reported else []
        return [] if any(map(math.isnan, last)) else last

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Raises ValueError if the file declares something else."""
        steps = {} if step is None else {"step": float(step)}
        asked = {"type": "float", "low": float(low), "high": float(high), **steps, "log": bool(log)}
        return float(self._given(name, asked))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Raises ValueError if the file declares something else."""
        asked = {"type": "int", "low": int(low), "high": int(high), "step": int(step), "log": bool(log)}
        return int(self._given(name, asked))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Raises ValueError if the file declares something else."""
        return self._given(name, {"type": "categorical", "choices": list(choices)})

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """Deprecated in Optuna, as the next two."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        return self.suggest_float(name, low, high, step=q)

    def report(self, value: float | Sequence[float], step: int) -> None:
        """As Optuna's: both are converted, and the first value of a step stands.

        With several objectives, for which Optuna has no reports, it takes a value of each.
        """
        values, index = self._numbers(value), _converted(int, "report step", step)
        if not 0 <= index < _STEPS:
            raise ValueError(f"cannot report step {index}: expected an integer from 0 to {_STEPS - 1}")
        if index in self._reported:
            warnings.warn(f"step {index} is reported already: this value is ignored", stacklevel=2)
            return
        self._reported[index] = values
        self._channel.tell({"step": index, **({"values": values} if values[1:] else {"value": values[0]})})

    def should_prune(self) -> bool:
        """Asks the daemon, which has all reports."""
        answer = self._channel.ask_pruning() if self._is_judged else None
        self._is_judged = answer is not None
        return answer is True

    def set_user_attr(self, key: str, value: Any) -> None:
        """Raises ValueError for a name that is tuned's, or for a value that is too long."""
        if (problem := attribute_problem(key)) is not None:
            raise ValueError(f"cannot set a user attribute: {problem}")
        report = json.dumps({"user_attrs": {key: value}}, default=_plain)
        if len(report) > LINE_BYTES:
            raise ValueError(
                f"cannot set user attribute {key}: found {len(report)} bytes as JSON, "
                f"expected at most {LINE_BYTES}"
            )
        self._channel.tell(json.loads(report))
        self._attributes[key] = value

    def set_constraint(self, key: str, value: float) -> None:
        """As Optuna's: the value is converted, NaN is a ValueError, and the first value of a name stands."""
        number = _converted(float, f"set constraint {key!r} to", value)
        problem = constraint_problem(key, number)
        if problem is None and key not in self._constraints and len(self._constraints) == MOST_CONSTRAINTS:
            problem = TOO_MANY
        if problem is not None:
            raise ValueError(f"cannot set a constraint: {problem}")
        if key in self._constraints:
            warnings.warn(f"constraint {key!r} is set already: this value is ignored", stacklevel=2)
            return
        self._constraints[key] = number
        self._channel.tell({"constraints": {key: number}})

    def __getattr__(self, name: str) -> NoReturn:
        raise missing("a trial", name)

    def _given(self, name: str, asked: Mapping[str, Any]) -> Any:
        declared = self._space.get(name)
        if declared is None:
            known = ", ".join(self._space)
            raise ValueError(f"no parameter {name!r} in the experiment file, which declares {known}")
        if asked != declared.table:
            here, there = _differences(asked, declared.table)
            raise ValueError(f"{name}: the objective asks for {here}, the experiment file says {there}")
        if name not in self._values:
            raise ValueError(
                f"{name} does not exist in this trial: the experiment file has it when {declared.condition}; "
                "suggest it only then"
            )
        return self._values[name]

    def _numbers(self, value: Any) -> list[float]:
        """One for each objective."""
        wanted = self._objectives
        if wanted == 1:
            return [_converted(float, "report value", value)]
        if not hasattr(value, "__iter__"):
            raise TypeError(f"cannot report value {value!r}: expected a number for each objective")
        found = list(value)
        if len(found) != wanted:
            given = counted(len(found), "value")
            raise ValueError(f"cannot report {given}: expected {wanted}, one for each objective")
        return [_converted(float, "report value", each) for each in found]


def _converted(kind: Any, what: str, value: Any) -> Any:
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"cannot {what} {value!r}: expected a number") from None


def _plain(value: Any) -> Any:
    """A number of another library as Python's own, for JSON."""
    with contextlib.suppress(TypeError, ValueError):
        # A scalar of NumPy or PyTorch knows what it is; an array of several numbers does not.
        if hasattr(value, "item"):
            return value.item()
        return operator.index(value) if hasattr(value, "__index__") else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str]:
    """The entries in which two tables differ, as a file has them."""
    if one["type"] != other["type"]:
        one, other = {"type": one["type"]}, {"type": other["type"]}
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return _shown(one, keys), _shown(other, keys)


def _shown(table: Mapping[str, Any], keys: Sequence[str]) -> str:
    return ", ".join(
        f"{key} = {json.dumps(table[key], default=repr)}" if key in table else f"no {key}" for key in keys
    )
