"""The parts of an experiment that must be on a host before a trial begins: directories, program, Python.

One that is missing says nothing of a point: it is looked for before the first claim, after each crash of a
trial, and again while its experiment rests. It must never start a program but an interpreter.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from tuned.daemon.trials.interpreters import CarryOut, Interpreters
from tuned.errors import TunedError
from tuned.trial.programs import common_environment, why_not_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuned.experiment.experiment import Experiment
    from tuned.trial.evaluation import Site


class PremiseMissing(TunedError):
    """This host has not all that a trial of an experiment needs."""


class Premises:
    """Belongs to the event loop's thread."""

    def __init__(self, site: Site, carry_out: CarryOut, doubt: Callable[[Experiment], object]) -> None:
        self._host = site.host
        #: Is told after a crash, which may have a cause of which this room knows nothing.
        self._doubt = doubt
        self._interpreters = Interpreters(site, carry_out)
        #: When the newest look that missed nothing began, by the monotonic clock; without interpreters.
        self._looks: dict[tuple[str | None, ...], float] = {}

    async def verify(self, experiment: Experiment, *, since: float = -math.inf) -> None:
        """Looks for all of it, unless a look that began after ``since`` missed nothing.

        Raises PremiseMissing, InterpreterUnusable, and OSError if nothing can be begun here.
        """
        if since > -math.inf:
            self._doubt(experiment)
        objective = experiment.objective
        environment = common_environment(experiment, self._host)
        program = None if objective.command is None else objective.command[0]
        key = (objective.workdir, objective.path, program, environment.get("PATH"))
        if self._looks.get(key, -math.inf) <= since:
            began = time.monotonic()
            # A directory may be on another machine's disk.
            if problem := await asyncio.to_thread(why_not_here, experiment, environment):
                self._looks.pop(key, None)
                raise PremiseMissing(problem)
            self._looks[key] = began
        await self._interpreters.verify(experiment, since=since)
