"""Which interpreters of experiments this host can use.

One that cannot be used must never cost a point: it is looked at before the first claim, after each crash of a
trial, and again while its experiment rests.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tuned.domain.ending import Ending
from tuned.errors import TunedError
from tuned.trial.keeping import Run, Watcher
from tuned.trial.launch import Launch
from tuned.trial.programs import look_launch, why_unusable

if TYPE_CHECKING:
    from tuned.experiment.experiment import Experiment
    from tuned.trial.evaluation import Site
    from tuned.trial.keeping import Keeper

#: Slots that come so soon after a failure are told of that one.
REMEMBERED_SECONDS = 0.5

#: Runs a launch to its ending.
CarryOut = Callable[[Launch], Awaitable[Ending]]


async def carry_out(keeper: Keeper, launch: Launch) -> Ending:
    """Runs a command that belongs to no trial."""
    run = Run(key=uuid.uuid4().hex, launch=launch, study="", program=None)
    try:
        return await keeper.run(run, Watcher())
    finally:
        keeper.forget(run.key)


class InterpreterUnusable(TunedError):
    """This host cannot run the objective of an experiment; it says nothing about a point."""


@dataclass(slots=True)
class _Look:
    """The newest look at one interpreter."""

    #: One at a time looks; the others wait for the answer.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: By the monotonic clock.
    began: float = -math.inf
    ended: float = -math.inf
    #: Empty if it can be used.
    problem: str = ""

    def is_outdated(self, since: float) -> bool:
        if self.problem:
            return time.monotonic() > self.ended + REMEMBERED_SECONDS
        return self.began <= since


class Interpreters:
    """The interpreters of a host's experiments. Belongs to the event loop's thread."""

    def __init__(self, site: Site, carry_out: CarryOut) -> None:
        self._site = site
        self._carry_out = carry_out
        #: By interpreter and environment.
        self._looks: dict[tuple[str, tuple[tuple[str, str], ...]], _Look] = {}

    async def verify(self, experiment: Experiment, *, since: float = -math.inf) -> None:
        """Looks at the interpreter, unless a look that began after ``since`` found that it can be used.

        Raises InterpreterUnusable, and OSError if nothing can be begun here.
        """
        interpreter = experiment.objective.interpreter
        if interpreter is None:
            return
        environment = tuple(sorted(experiment.objective.env.items()))
        look = self._looks.setdefault((interpreter, environment), _Look())
        async with look.lock:
            if look.is_outdated(since):
                began = time.monotonic()
                problem = why_unusable(experiment, await self._carry_out(self._launch(experiment)))
                look.began, look.ended, look.problem = began, time.monotonic(), problem
        if look.problem:
            raise InterpreterUnusable(look.problem)

    def _launch(self, experiment: Experiment) -> Launch:
        site = self._site
        return look_launch(
            experiment,
            host=site.host,
            log=site.layout.interpreters_log,
            installation=site.state.installation_id,
            base=site.environment,
        )
