"""Runs one Python objective, an ordinary Optuna objective function, in a process of its own.

``python -m tuned.worker.objective MODULE:FUNCTION DIRECTORY SPACE`` imports the module (from DIRECTORY first,
unless it is empty), calls the function with a trial whose parameters are those of ``TUNED_PARAMS``, and
reports as any command does, on standard output. SPACE is the space of the experiment file, as JSON.

It must never import another part of tuned than ``domain``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna import TrialPruned
from optuna.trial import FixedTrial

from tuned.domain.attributes import LINE_BYTES, attribute_problem
from tuned.domain.space import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Value,
    document,
    documented,
)

Objective = Callable[[FixedTrial], float | Sequence[float]]


class WorkerTrial(FixedTrial):
    """The trial that the objective sees: its parameters are drawn already, from the space of the file."""

    def __init__(self, space: Mapping[str, Parameter], values: dict[str, Value], number: int) -> None:
        super().__init__(values, number)
        self._space = space
        self._values = values

    @property
    def params(self) -> dict[str, Any]:
        """All of them, suggested already or not."""
        return dict(self._values)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Raises ValueError if the file declares something else."""
        self._check(FloatParameter(name=name, low=low, high=high, step=step, log=log))
        return super().suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Raises ValueError if the file declares something else."""
        self._check(IntParameter(name=name, low=low, high=high, step=step, log=log))
        return super().suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Raises ValueError if the file declares something else."""
        self._check(CategoricalParameter(name=name, choices=tuple(choices)))
        return super().suggest_categorical(name, choices)

    def report(self, value: float, step: int) -> None:
        super().report(value, step)
        _print({"step": step, "value": float(value)})

    def set_user_attr(self, key: str, value: Any) -> None:
        """Raises ValueError for a name that is tuned's, or for a value that is too long."""
        if (problem := attribute_problem(key)) is not None:
            raise ValueError(f"cannot set a user attribute: {problem}")
        report = {"user_attrs": {key: value}}
        if (size := len(json.dumps(report))) > LINE_BYTES:
            raise ValueError(
                f"cannot set user attribute {key}: found {size} bytes as JSON, expected at most {LINE_BYTES}"
            )
        super().set_user_attr(key, value)
        _print(report)

    def _check(self, suggested: Parameter) -> None:
        there = self._space.get(suggested.name)
        if there is None:
            known = ", ".join(self._space)
            raise ValueError(
                f"no parameter {suggested.name!r} in the experiment file, which declares {known}"
            )
        if suggested != there:
            here, declared = _differences(document(suggested), document(there))
            raise ValueError(
                f"{suggested.name}: the objective asks for {here}, the experiment file says {declared}"
            )


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


def load(name: str, directory: str) -> Objective:
    """The function named ``module:function``. Raises what its import raises, SystemExit if there is none."""
    module, _, function = name.partition(":")
    if directory:
        # As for a script: what lies beside the module can be imported by it.
        sys.path.insert(0, directory)
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        place = f"in {directory} nor " if directory else ""
        raise SystemExit(f"there is no module {module} {place}among what is installed") from None
    if not hasattr(loaded, function):
        raise SystemExit(f"there is no {function} in {loaded.__file__}")
    objective: Objective = getattr(loaded, function)
    return objective


def parameters(space: str) -> dict[str, Parameter]:
    """The parameters that a file declares, by name, from the tables as JSON."""
    return {name: documented(name, table) for name, table in json.loads(space).items()}


def evaluate(objective: Objective, space: Mapping[str, Parameter]) -> None:
    """Calls the function for the point of the environment, and prints its value."""
    trial = WorkerTrial(space, json.loads(os.environ["TUNED_PARAMS"]), int(os.environ["TUNED_TRIAL"]))
    try:
        result = objective(trial)
    except TrialPruned:
        # Nothing prunes yet, so the objective decided that by itself: its last report stands.
        return
    values = list(result) if isinstance(result, Sequence) else [result]
    _print({"values": [float(value) for value in values]})


def main(arguments: Sequence[str]) -> None:
    name, directory, space = arguments
    evaluate(load(name, directory), parameters(space))


def _print(report: dict[str, Any]) -> None:
    # On a line of its own, whatever the objective printed before.
    sys.stdout.write(f"\n{json.dumps(report)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
