"""An experiment's Python: run once, as a trial would be, to tell whether it can be used here.

It must never start anything itself, or remember an answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tuned.domain.ending import Cause, Ending
from tuned.trial import launch as launch_module
from tuned.trial.launch import Launch

if TYPE_CHECKING:
    from tuned.experiment.experiment import Experiment

#: One that takes longer hangs.
ANSWER_SECONDS = 60.0


def look_launch(experiment: Experiment, *, host: str, log: Path, installation: str) -> Launch:
    """Runs the interpreter once, in the environment of the experiment's trials."""
    return Launch(
        argv=launch_module.python(experiment),
        environment=launch_module.common_environment(experiment, host),
        workdir=Path("/"),
        log=log,
        timeout_seconds=ANSWER_SECONDS,
        objectives=1,
        pattern=None,
        mark=f"{installation}/{uuid4().hex}",
        cgroups=None,
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
