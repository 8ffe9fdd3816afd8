"""Searches by a clock that only counts: evaluations take no time, and what ends first is told first.

tuned's search is the real one on a real database, with its own decision when to draw. Each of its draws takes
the CPU time that it took, so that other programs on the machine do not count; draws follow one another. A
process and the way of a slot to its trial take times that do not vary.
"""

from __future__ import annotations

import asyncio
import bisect
import heapq
import itertools
import math
import random
import time
import warnings
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import optuna

from benchmarks.functions import Function
from tests.factories import Member, join, make_experiment
from tuned.domain.claim import Claimed
from tuned.events import Events
from tuned.search.sampling import Draft
from tuned.search.search import Search
from tuned.storage.link import Link
from tuned.storage.trials.tells import tell

WORKERS = 4

#: Of an evaluation, beside its command: its process begins and ends.
PROCESS_SECONDS = 0.006

#: From a drawn point to the beginning of its evaluation: the claim.
CLAIM_SECONDS = 0.004

#: Of a draw, beside its CPU time: it waits for the database twice.
READ_SECONDS = 0.001


@dataclass(slots=True, kw_only=True)
class Course:
    """How a search went: after each evaluation the time and the best value."""

    seconds: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)

    def add(self, seconds: float, value: float) -> None:
        self.seconds.append(seconds)
        self.best.append(min([value, *self.best[-1:]]))

    def best_by(self, seconds: float) -> float:
        """The best value at this time; infinity if no evaluation has ended."""
        ended = bisect.bisect_right(self.seconds, seconds)
        return self.best[ended - 1] if ended else math.inf


class _Clock:
    """Evaluations under way."""

    def __init__(self, seed: int, command_seconds: float) -> None:
        self._durations = random.Random(seed)
        self._command_seconds = command_seconds
        self._running: list[tuple[float, int, float, Any]] = []
        self._begun = itertools.count()
        self.now = 0.0

    def begin(self, at: float, slot: int, trial: Any) -> None:
        takes = PROCESS_SECONDS + self._command_seconds * self._durations.uniform(0.5, 1.5)
        heapq.heappush(self._running, (at + takes, next(self._begun), takes, (slot, trial)))

    def end(self) -> tuple[int, Any, float]:
        """Of the evaluation that ends first: its slot, its trial and how long it took."""
        self.now, _, took, ended = heapq.heappop(self._running)
        return *ended, took


def search_optuna(function: Function, seed: int, trials: int) -> Course:
    """``study.optimize`` with so many workers: each asks when it is free."""
    options: dict[str, Any] = {"multivariate": True, "group": True} if function.has_conditions else {}
    with warnings.catch_warnings():
        # Optuna calls ``group`` experimental.
        warnings.simplefilter("ignore")
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, **options))
    clock, course = _Clock(seed, 1.0), Course()
    for begun in range(trials + WORKERS):
        slot = begun
        if begun >= WORKERS:
            slot, trial, _ = clock.end()
            course.add(clock.now, function.value(trial.params))
            study.tell(trial, function.value(trial.params))
        if begun < trials:
            trial = study.ask()
            function.suggest(trial)
            clock.begin(clock.now, slot, trial)
    return course


class _Draws:
    """The draws of one search, one after the other."""

    def __init__(self, search: Search) -> None:
        claiming = search._claiming
        self._search = search
        self._ahead = claiming._prefetch._ahead
        self._draw, claiming._source.draw = claiming._source.draw, self._timed  # type: ignore[method-assign]
        self._seconds: list[float] = []
        self._free_at = 0.0
        #: When the points that are drawn ahead are at hand, the oldest first.
        self._ready: deque[float] = deque()

    async def claim(self, slot: int, now: float) -> tuple[Claimed, float]:
        """Claims a point for a slot that is free now; returns also when it is claimed."""
        while True:
            before = len(self._ahead)
            outcome = await self._search.claim_next(slot)
            fresh = self._taken()
            ahead = [self._ready.popleft() for _ in range(before - self._count_old())]
            # Otherwise they were dropped, because slots need none any more.
            now = max([now, *([] if fresh else ahead)])
            for seconds in fresh:
                now = self._begin(now, seconds)
            now += CLAIM_SECONDS
            if self._ahead:
                await asyncio.wait(self._ahead)
            self._ready.extend(self._begin(now, seconds) for seconds in self._taken())
            if isinstance(outcome, Claimed):
                return outcome, now

    def _timed(self) -> Draft:
        began = time.thread_time()
        draft = self._draw()
        seconds = time.thread_time() - began + READ_SECONDS
        self._seconds.append(seconds)
        return replace(draft, seconds=seconds)

    def _taken(self) -> list[float]:
        """The time that the draws since the last look took."""
        taken, self._seconds[:] = list(self._seconds), []
        return taken

    def _count_old(self) -> int:
        """Of the points ahead those that were drawn before the last claim; the others have not begun."""
        return sum(draw.done() for draw in self._ahead)

    def _begin(self, now: float, seconds: float) -> float:
        """Makes a draw when those before it have ended; returns when it has."""
        self._free_at = max(now, self._free_at) + seconds
        return self._free_at


async def begun_search(
    link: Link, name: str, space: str, more: str = "", *, sampler: str = "tpe"
) -> tuple[Member, Search]:
    """Tuned's own search, whose slots are all at work, and the host that it belongs to."""
    experiment = make_experiment(f'[sampler]\nname = "{sampler}"\n{more}', space=space, name=name)
    member = join(link.database, experiment, name)
    search = await Search.begin(
        link,
        Events(name),
        experiment,
        encoding=member.encoding,
        status=member.status,
        claimant=member.claimant,
        file=name,
    )
    search.busy = WORKERS
    return member, search


async def search_tuned(
    link: Link, function: Function, seed: int, trials: int, command_seconds: float, *, is_ahead: bool
) -> Course:
    """Tuned's own search; if ``is_ahead``, it always has a point at hand for each slot."""
    name = f"{seed}-{command_seconds:g}-{is_ahead}"
    member, search = await begun_search(link, name, function.space)
    if is_ahead:
        search._claiming._prefetch._needed = lambda slots: slots  # type: ignore[method-assign]
    draws, clock, course = _Draws(search), _Clock(seed, command_seconds), Course()
    for begun in range(trials + WORKERS):
        slot = begun
        if begun >= WORKERS:
            slot, claimed, took = clock.end()
            value = function.value(claimed.point.values)
            course.add(clock.now, value)
            result = member.result(claimed, value)
            search.note_ended(result, took)
            await link.call(tell, result)
            search.note_told(result)
        if begun < trials:
            claimed, at = await draws.claim(slot, clock.now)
            clock.begin(at, slot, claimed)
    return course
