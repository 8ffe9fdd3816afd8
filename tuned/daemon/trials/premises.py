"""The parts of an experiment that must be on a host before a trial begins: directories, program, Python.

One that is missing says nothing of a point: it is looked for before the first claim, after each crash of a
trial, and again while its experiment rests. It must never start a program but an interpreter.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from tuned.daemon.trials.chores import done
from tuned.daemon.trials.interpreters import CarryOut, Interpreters
from tuned.errors import TunedError
from tuned.keeper.chores import looking
from tuned.trial.programs import common_environment, premise

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuned.daemon.trials.chores import Doer
    from tuned.experiment.experiment import Experiment
    from tuned.trial.evaluation import Site


class PremiseMissing(TunedError):
    """This host has not all that a trial of an experiment needs."""


class Premises:
    """Belongs to the event loop's thread."""

    def __init__(
        self, site: Site, carry_out: CarryOut, doubt: Callable[[Experiment], object], doer: Doer
    ) -> None:
        self._site = site
        #: Is told after a crash, which may have a cause of which this room knows nothing.
        self._doubt = doubt
        self._doer = doer
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
        environment = common_environment(experiment, self._site.host, self._site.environment)
        program = None if objective.command is None else objective.command[0]
        key = (objective.workdir, objective.path, program, environment.get("PATH"))
        if self._looks.get(key, -math.inf) <= since:
            began = time.monotonic()
            # By the user who runs the trials: another one may see less, or more.
            problems = await done(self._doer.step, looking(premise(experiment, environment)))
            if problems:
                self._looks.pop(key, None)
                raise PremiseMissing(problems[0])
            self._looks[key] = began
        await self._interpreters.verify(experiment, since=since)
