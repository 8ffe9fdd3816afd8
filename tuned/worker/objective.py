"""Runs one Python objective, an ordinary Optuna objective function, in a process of its own.

``bootstrap.py objective MODULE:FUNCTION DIRECTORY SPACE DIRECTIONS`` imports the module (from DIRECTORY
first, unless it is empty), calls the function with a trial whose parameters are those of ``TUNED_PARAMS``,
and tells its value on ``channel.DESCRIPTOR``. SPACE is the space of the experiment file, with conditions in
words, and DIRECTIONS are its directions, as JSON.

It runs in the Python of the experiment, 3.9 or newer, and imports nothing but that one's own library and
rooms for which the same holds.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import reprlib
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from tuned.worker.channel import DESCRIPTOR, Channel
from tuned.worker.declared import Declared
from tuned.worker.study import Definition
from tuned.worker.trial import WorkerTrial, is_pruning

Objective = Callable[[WorkerTrial], Any]

#: How much of a message reaches the failure.
_MESSAGE_CHARACTERS = 300


def load(name: str, directory: str) -> Objective:
    """The function named ``module:function``. Raises what its import raises, SystemExit if there is none."""
    module, _, function = name.partition(":")
    if directory:
        # As for a script: what lies beside the module can be imported by it.
        sys.path.insert(0, directory)
    # As for a script without arguments: ours are not the module's.
    sys.argv = [module]
    try:
        sys.argv = [_file(module) or module]
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


def _file(module: str) -> str | None:
    spec = importlib.util.find_spec(module)
    return None if spec is None else spec.origin


def definition(space: str, directions: str) -> Definition:
    """From the file's tables and its directions, as JSON."""
    tables = json.loads(space)
    # Taken out first: the rest of a table is the parameter.
    conditions = {name: table.pop("when", "") for name, table in tables.items()}
    return Definition(
        space={name: Declared(table, conditions[name]) for name, table in tables.items()},
        directions=json.loads(directions),
    )


def evaluate(objective: Objective, defined: Definition, channel: Channel) -> None:
    """Calls the function for the point of the environment, and tells its end. Raises what it raises."""
    values, number = json.loads(os.environ["TUNED_PARAMS"]), int(os.environ["TUNED_TRIAL"])
    trial = WorkerTrial(os.environ["TUNED_EXPERIMENT"], defined, values, number, channel)
    try:
        returned = objective(trial)
    except SystemExit as end:
        if isinstance(end.code, str):
            channel.tell({"error": _cut(end.code)})
        raise
    except Exception as error:
        if is_pruning(error):
            channel.tell({"pruned": trial.last_report})
            return
        channel.tell({"error": _cut(_last_line(error))})
        _show_in_log(error)
        raise
    else:
        channel.tell(_result(returned))


def main(arguments: Sequence[str]) -> None:
    name, directory, space, directions = arguments
    channel = Channel(DESCRIPTOR)
    evaluate(load(name, directory), definition(space, directions), channel)


def _result(returned: Any) -> dict[str, Any]:
    """The values as numbers, as Optuna converts them."""
    is_several = isinstance(returned, Sequence) and not isinstance(returned, (str, bytes))
    try:
        return {"values": [float(value) for value in (returned if is_several else [returned])]}
    except (TypeError, ValueError, OverflowError):
        expected = "numbers" if is_several else "a number"
        return {"problem": _cut(f"the function returned {reprlib.repr(returned)}, expected {expected}")}


def _last_line(error: BaseException) -> str:
    return traceback.format_exception_only(type(error), error)[-1].strip().splitlines()[-1]


def _cut(message: str) -> str:
    return message[-_MESSAGE_CHARACTERS:]


def _show_in_log(error: BaseException) -> None:
    """The traceback, if the objective sends what is printed elsewhere: the trial's log has it as well."""
    if sys.stderr is not sys.__stderr__ or getattr(sys.stderr, "closed", True):
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        with contextlib.suppress(OSError):
            os.write(2, text.encode(errors="backslashreplace"))
