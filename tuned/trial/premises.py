"""Whether a host has the directories and the program of an experiment.

It must never start anything, or know a point: a program whose name depends on one is not looked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuned.experiment.checks import placeholders, substitute
from tuned.trial.launch import Launch, launch_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.experiment.experiment import Experiment


def why_not_here(experiment: Experiment, environment: Mapping[str, str]) -> str:
    """Why no trial of an experiment can run on this host, for people; empty if it seems that they can."""
    objective = experiment.objective
    if objective.path is not None and not Path(objective.path).is_dir():
        return f"cannot import from {objective.path}: there is no such directory"
    program = _program(experiment)
    if objective.workdir is None and (
        program is None or (not Path(program).is_absolute() and "/" in program)
    ):
        return ""
    launch = Launch(
        # Any program that is surely there, if that of the experiment is not known.
        argv=(program or "/bin/sh",),
        environment=environment,
        workdir=Path(objective.workdir or "/"),
        log=Path("/dev/null"),
        timeout_seconds=None,
        objectives=1,
        pattern=None,
        mark="",
        cgroups=None,
    )
    return launch_problem(launch) or ""


def _program(experiment: Experiment) -> str | None:
    """The first word of the command; None if it depends on the point, or there is none."""
    command = experiment.objective.command
    if command is None or any(name is not None for _, name in placeholders(command[0])):
        return None
    return substitute(command[0], {})
