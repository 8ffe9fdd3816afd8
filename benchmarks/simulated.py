"""Hosts without processes: the daemon's own store, slots and searches, with evaluations that only take time.

Many of them live in one process, each with the connections and threads of a daemon of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy import QueuePool

from benchmarks.central import SPACE, Counted, counting
from benchmarks.crew import meet
from benchmarks.host import cpu_seconds
from tests.factories import make_experiment
from tests.waiting import until_async
from tuned.daemon import scheduler
from tuned.daemon.fleet import Fleet
from tuned.daemon.scheduler import Scheduler
from tuned.daemon.teller import Teller
from tuned.disk.outbox import Outbox
from tuned.disk.state import StateDirectory
from tuned.domain.claim import Claimant, Claimed, Outcome
from tuned.domain.ending import Ending
from tuned.domain.result import Result, TellOutcome
from tuned.errors import DatabaseAway
from tuned.events import Events
from tuned.keeper.runs import Runs
from tuned.search.search import Search
from tuned.storage.database import Database
from tuned.storage.encoding import Encoding
from tuned.storage.hosts import HostInfo
from tuned.storage.link import Link
from tuned.storage.studies import open_study, study_statuses
from tuned.trial.evaluation import Evaluation, Site

INTERVAL_SECONDS, EXPIRE_SECONDS = 10.0, 90.0

#: Of an evaluation.
SHORTEST_SECONDS, LONGEST_SECONDS = 20.0, 60.0

SETTLE_SECONDS = 5.0

#: How long all slots may take to have their first trial.
BEGIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The hosts and trials that one process simulates."""

    url: str
    home: Path
    hosts: int
    #: Of each host.
    slots: int
    studies: int
    sampler: str
    #: Evaluations are so much faster.
    speed: float
    seconds: float
    server_pid: int


@dataclass(slots=True, kw_only=True)
class Observed:
    """The observations of one process while all its slots were busy."""

    #: From a free slot's question to a claimed trial.
    claims: list[float] = field(default_factory=list)
    told: int = 0
    #: Calls that found the database away, or a lock taken for too long.
    away: int = 0
    statements: int = 0
    connections: int = 0
    cpu_seconds: float = 0.0
    #: Of all the server's processes.
    server_cpu_seconds: float = 0.0
    #: Until all slots had their first trial.
    begin_seconds: float = 0.0


Evaluate = Callable[[Evaluation, Callable[[], Awaitable[bool]]], Awaitable[Ending]]


def simulate(number: int, plan: Plan) -> Observed:
    """In a crew: runs hosts of this process beside those of the others."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # The one part of a host that is not the daemon's.
    begun: set[tuple[str, int]] = set()
    vars(scheduler)["evaluate"] = _evaluator(plan.speed, begun)
    return asyncio.run(_simulate(number, plan, begun))


def _evaluator(speed: float, begun: set[tuple[str, int]]) -> Evaluate:
    """Adds to ``begun`` each slot that has had a trial."""

    async def evaluate(evaluation: Evaluation, _: object) -> Ending:
        slot = (evaluation.site.host, evaluation.slot)
        seconds = _left_seconds() if slot not in begun else random.uniform(SHORTEST_SECONDS, LONGEST_SECONDS)
        begun.add(slot)
        await asyncio.sleep(seconds / speed)
        return Ending(values=(random.random(),))

    return evaluate


def _left_seconds() -> float:
    """Of a trial that one meets at any moment: so the fleet has its pace from the beginning."""
    shortest, longest = SHORTEST_SECONDS**2, LONGEST_SECONDS**2
    # One meets a long trial more often than a short one, anywhere between its beginning and its end.
    return random.random() * math.sqrt(random.uniform(shortest, longest))


async def _simulate(number: int, plan: Plan, begun: Collection[tuple[str, int]]) -> Observed:
    observed = Observed()
    async with contextlib.AsyncExitStack() as stack:
        hosts = [
            await stack.enter_async_context(_host(f"h{number}-{index}", plan, observed))
            for index in range(plan.hosts)
        ]
        await asyncio.to_thread(meet)
        began = time.monotonic()
        for host in hosts:
            host.begin()
        every = plan.hosts * plan.slots
        await until_async(lambda: len(begun) == every, what="slots to have a trial", seconds=BEGIN_SECONDS)
        begin_seconds = time.monotonic() - began
        # Those that had to ask twice while all asked at once are through by then.
        await asyncio.sleep(SETTLE_SECONDS)
        await asyncio.to_thread(meet)
        sent, claims, told, away = _sent(hosts), len(observed.claims), observed.told, observed.away
        cpu, server_cpu = time.process_time(), _server_cpu_seconds(plan.server_pid)
        await asyncio.sleep(plan.seconds)
        found = Observed(
            claims=observed.claims[claims:],
            told=observed.told - told,
            away=observed.away - away,
            statements=_sent(hosts) - sent,
            connections=sum(host.connections for host in hosts),
            cpu_seconds=time.process_time() - cpu,
            server_cpu_seconds=_server_cpu_seconds(plan.server_pid) - server_cpu,
            begin_seconds=begin_seconds,
        )
        await asyncio.to_thread(meet)
    return found


def _server_cpu_seconds(pid: int) -> float:
    """Of the server and all its processes, also those that have ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(cpu_seconds(pid)) + sum(cpu_seconds(int(child))[0] for child in children)


def _sent(hosts: Iterable[_Host]) -> int:
    return sum(host.counted.statements for host in hosts)


class _TimedSearch(Search):
    """Says how long its slots wait."""

    observed: Observed

    async def claim_next(self, slot: int) -> Outcome:
        began = time.monotonic()
        try:
            outcome = await super().claim_next(slot)
        except DatabaseAway:
            self.observed.away += 1
            raise
        if isinstance(outcome, Claimed):
            self.observed.claims.append(time.monotonic() - began)
        return outcome


@contextlib.asynccontextmanager
async def _host(name: str, plan: Plan, observed: Observed) -> AsyncIterator[_Host]:
    """One that has joined the fleet and opened its studies; its slots wait for ``begin``."""
    database = Database(plan.url)
    host = _Host(name, plan, database, observed)
    try:
        with counting(database.engine) as host.counted:
            await host.join()
            yield host
            await host.end()
    finally:
        host.link.close()


class _Host:
    """The parts of a daemon, except the spool, the socket and processes."""

    counted: Counted

    def __init__(self, name: str, plan: Plan, database: Database, observed: Observed) -> None:
        self._plan = plan
        self._observed = observed
        installation_id = uuid.uuid4().hex
        state = StateDirectory(path=plan.home / name, installation_id=installation_id)
        state.path.mkdir()
        self._events = Events(name)
        self.link = Link(database, self._events, last_retry_seconds=INTERVAL_SECONDS)
        # The tables are there: the checks of a daemon's start are not measured.
        self.link._is_prepared.set()
        self._teller = Teller(self.link, Outbox(state.outbox))
        site = Site(host=name, state=state, cgroups=None, grace_seconds=0.0)
        self._scheduler = Scheduler(self.link, self._teller, site, Runs(plan.slots), plan.slots)
        self._fleet = Fleet(
            self.link,
            host=name,
            installation_id=installation_id,
            interval_seconds=INTERVAL_SECONDS,
            expire_seconds=EXPIRE_SECONDS,
            describe=HostInfo,
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connections(self) -> int:
        pool = self.link.database.engine.pool
        assert isinstance(pool, QueuePool)
        return pool.checkedin() + pool.checkedout()

    async def join(self) -> None:
        claimant = await self._fleet.join()
        for number in range(self._plan.studies):
            search = await self._open(f"load-{number}", claimant)
            self._scheduler.searches[search.name] = search

    def begin(self) -> None:
        work = (
            self.link.watch(),
            self._teller.run(self._on_told),
            self._fleet.run(self._die),
            self._follow(),
            self._scheduler.run(),
        )
        self._tasks = [asyncio.create_task(each) for each in work]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.link.landed(10)

    async def _open(self, name: str, claimant: Claimant) -> _TimedSearch:
        text = f'[sampler]\nname = "{self._plan.sampler}"\n'
        experiment = make_experiment(text, space=SPACE, name=name)
        encoding = Encoding(experiment.space)
        status = await self.link.call(open_study, experiment, encoding, is_new=True)
        search = await _TimedSearch.begin(
            self.link,
            self._events,
            experiment,
            encoding=encoding,
            status=status,
            claimant=claimant,
            file=name,
        )
        search.observed = self._observed
        return search

    async def _on_told(self, result: Result, _: TellOutcome) -> None:
        self._observed.told += 1
        for search in self._scheduler.searches.values():
            if search.status.study_id == result.study_id:
                search.note_told(result)
        self._scheduler.wake()

    async def _follow(self) -> None:
        """Looks at the state of the studies, as ``Experiments.follow`` does."""
        searches = self._scheduler.searches.values()
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            with contextlib.suppress(DatabaseAway):
                ids = [search.status.study_id for search in searches]
                found = await self.link.call(study_statuses, ids)
                for search in searches:
                    search.look(found[search.status.study_id])

    async def _die(self) -> None:
        raise AssertionError("a host was taken for dead under load")
