"""The programs of an experiment's trials: what is executed for a point, and in which environment.

It turns an experiment into values that know none, and must never start anything itself.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tuned.config import gpus
from tuned.domain.ending import Cause, Ending
from tuned.experiment.checks import placeholders, substitute
from tuned.experiment.experiment import Experiment, text
from tuned.trial.fork_servers import ServerProgram
from tuned.trial.launch import Launch, Premise, own_environment
from tuned.worker import bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tuned.domain.space import Point
    from tuned.trial.cgroup import Root

#: One that takes longer hangs.
ANSWER_SECONDS = 60.0

#: The same of a command that tells people.
NOTIFY_SECONDS = 30.0

#: A launch has no standard input of its own.
_FEED = 'document=$TUNED_NOTIFICATION; unset TUNED_NOTIFICATION; printf "%s\\n" "$document" | "$@"'


def command(experiment: Experiment, point: Point) -> tuple[str, ...]:
    """The program and arguments that are executed for a point."""
    if experiment.objective.python is None:
        return experiment.argv(point)
    return (*python(experiment), "objective", *experiment.worker_arguments)


def python(experiment: Experiment) -> tuple[str, str]:
    """The Python of an objective, and the file by which each program of ours begins there."""
    return experiment.objective.interpreter or sys.executable, bootstrap.__file__


def environment(
    experiment: Experiment,
    point: Point,
    *,
    trial: int,
    host: str,
    slot: int,
    attempt: int,
    point_directory: Path,
    replicate: int = 1,
    cards: Sequence[str] = (),
    base: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """A trial's whole environment: the daemon's without its secrets, the experiment's, and the parameters.

    Without ``cards`` of its own, the daemon's variable for GPUs is left as it is.
    """
    parameters = {f"TUNED_PARAM_{name.upper()}": text(value) for name, value in point.values.items()}
    return {
        **common_environment(experiment, host, base),
        **parameters,
        **({gpus.VARIABLE: ",".join(cards)} if cards else {}),
        "TUNED_PARAMS": json.dumps(dict(point.values)),
        "TUNED_TRIAL": str(trial),
        "TUNED_SLOT": str(slot),
        "TUNED_ATTEMPT": str(attempt),
        "TUNED_REPLICATE": str(replicate),
        "TUNED_POINT_DIR": str(point_directory),
    }


def common_environment(
    experiment: Experiment, host: str, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The part of the environment that all trials of an experiment on a host have.

    They begin with ``base``; without one, with our own.
    """
    base = own_environment() if base is None else base
    # Otherwise the output of a Python program is seen only when its buffer is full.
    unbuffered = {"PYTHONUNBUFFERED": "1"}
    names = {"TUNED_EXPERIMENT": experiment.name, "TUNED_HOST": host}
    if experiment.tree:
        names["TUNED_CODE"] = experiment.tree
    return {**unbuffered, **base, **experiment.objective.env, **names}


def is_forked(experiment: Experiment) -> bool:
    """Whether its trials are forked from a process that has imported its objective."""
    return experiment.objective.python is not None and experiment.objective.fork


def server_program(
    experiment: Experiment, host: str, workdir: Path, base: Mapping[str, str] | None = None
) -> ServerProgram | None:
    """The process from which trials of an experiment are forked; None for that of commands.

    ``workdir`` is for an import that has no directory of its own.
    """
    if not is_forked(experiment):
        return None
    objective = experiment.objective
    return ServerProgram(
        argv=(*python(experiment), "warm_objective", *experiment.worker_arguments),
        environment=common_environment(experiment, host, base),
        workdir=objective.workdir or str(workdir),
        imports=objective.python,
    )


def look_launch(
    experiment: Experiment,
    *,
    host: str,
    log: Path,
    installation: str,
    base: Mapping[str, str] | None = None,
) -> Launch:
    """Runs the interpreter once, in the environment of the experiment's trials."""
    return _errand(
        argv=python(experiment),
        environment=common_environment(experiment, host, base),
        workdir=Path("/"),
        log=log,
        timeout_seconds=ANSWER_SECONDS,
        installation=installation,
        cgroups=None,
    )


def setup_launch(
    experiment: Experiment,
    *,
    host: str,
    log: Path,
    installation: str,
    cgroups: Root | None,
    base: Mapping[str, str] | None = None,
) -> Launch | None:
    """Prepares unpacked code, in the environment of the experiment's trials; None if nothing does."""
    code = experiment.code
    if code is None or code.setup is None:
        return None
    return _errand(
        argv=tuple(substitute(argument, experiment.places) for argument in code.setup),
        environment=common_environment(experiment, host, base),
        workdir=Path(experiment.tree),
        log=log,
        timeout_seconds=code.setup_timeout,
        installation=installation,
        cgroups=cgroups,
    )


def notify_launch(
    command: Sequence[str],
    document: str,
    *,
    experiment: str,
    host: str,
    log: Path,
    installation: str,
    cgroups: Root | None,
    base: Mapping[str, str] | None = None,
) -> Launch:
    """Runs a command that tells people, with the document on its standard input."""
    base = own_environment() if base is None else base
    names = {"TUNED_EXPERIMENT": experiment, "TUNED_HOST": host, "TUNED_NOTIFICATION": document}
    return _errand(
        argv=("/bin/sh", "-c", _FEED, "sh", *command),
        environment={**base, **names},
        workdir=Path("/"),
        log=log,
        timeout_seconds=NOTIFY_SECONDS,
        installation=installation,
        cgroups=cgroups,
    )


def _errand(
    *,
    argv: tuple[str, ...],
    environment: Mapping[str, str],
    workdir: Path,
    log: Path,
    timeout_seconds: float | None,
    installation: str,
    cgroups: Root | None,
) -> Launch:
    """Runs a program that is no trial, and has no value to print."""
    return Launch(
        argv=argv,
        environment=environment,
        workdir=workdir,
        log=log,
        timeout_seconds=timeout_seconds,
        objectives=1,
        pattern=None,
        mark=f"{installation}/{uuid4().hex}",
        cgroups=cgroups,
    )


def why_unusable(experiment: Experiment, ending: Ending) -> str:
    """Why it cannot be used, by the way in which it ended; empty if it can."""
    failure = ending.failure
    if failure is None:
        return ""
    if failure.cause is Cause.NO_VALUE:
        said = "it is no Python"
    else:
        status = f"exit status {failure.detail.get('status')}: "
        said = failure.message.removeprefix(status).removesuffix(" (working directory /)")
    if said.startswith("cannot run "):
        return f"objective.interpreter: {said}"
    return f"objective.interpreter: cannot use {experiment.objective.interpreter!r}: {said}"


def premise(experiment: Experiment, environment: Mapping[str, str]) -> Premise:
    """The parts that must be on a host before a trial of an experiment begins there."""
    objective = experiment.objective
    program = _program(experiment)
    search = environment.get("PATH", os.defpath)
    if objective.workdir is None and (
        program is None or (not Path(program).is_absolute() and "/" in program)
    ):
        return Premise(path=objective.path, program=None, workdir=None, search=search)
    # Any program that is surely there, if that of the experiment is not known.
    return Premise(
        path=objective.path, program=program or "/bin/sh", workdir=objective.workdir or "/", search=search
    )


def _program(experiment: Experiment) -> str | None:
    """The first word of the command; None if it depends on the point, or there is none."""
    command = experiment.objective.command
    places = experiment.places
    if command is None or any(name not in {None, *places} for _, name in placeholders(command[0])):
        return None
    return substitute(command[0], places)
