"""Runs one Python objective, an ordinary Optuna objective function, in a process of its own.

``python -m tuned.worker MODULE:FUNCTION [DIRECTORY]``: imports the module (from DIRECTORY first), calls the
function with a trial whose parameters are those of ``TUNED_PARAMS``, and reports as any command does, on
standard output.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from optuna import TrialPruned
from optuna.trial import FixedTrial

Objective = Callable[[FixedTrial], float | Sequence[float]]


class WorkerTrial(FixedTrial):
    """The trial that the objective sees: its parameters are drawn already."""

    def report(self, value: float, step: int) -> None:
        super().report(value, step)
        _print({"step": step, "value": float(value)})


def load(name: str, directory: str | None) -> Objective:
    """The function named ``module:function``. Raises what its import raises, SystemExit if there is none."""
    module, _, function = name.partition(":")
    place = directory or str(Path.cwd())
    # As for a script: what lies beside the module can be imported by it.
    sys.path.insert(0, place)
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise SystemExit(f"there is no module {module} in {place} nor among what is installed") from None
    if not hasattr(loaded, function):
        raise SystemExit(f"there is no {function} in {loaded.__file__}")
    objective: Objective = getattr(loaded, function)
    return objective


def main(arguments: Sequence[str]) -> None:
    objective = load(arguments[0], arguments[1] if len(arguments) > 1 else None)
    trial = WorkerTrial(json.loads(os.environ["TUNED_PARAMS"]), number=int(os.environ["TUNED_TRIAL"]))
    try:
        result = objective(trial)
    except TrialPruned:
        # Nothing prunes yet, so the objective decided that by itself: its last report stands.
        return
    values = list(result) if isinstance(result, Sequence) else [result]
    _print({"values": [float(value) for value in values]})


def _print(report: dict[str, Any]) -> None:
    # On a line of its own, whatever the objective printed before.
    sys.stdout.write(f"\n{json.dumps(report)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
