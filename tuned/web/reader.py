"""The one reader of the database for all who look: a fleet as it is now, and one experiment or trial of it.

An experiment that has not changed is not read again. All of it happens in one thread of its own, so that no
page waits for the database in the event loop. No page is over a second old while the database answers.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from tuned.errors import DatabaseAway, TunedError
from tuned.storage import hosts as hosts_module
from tuned.storage.queries import experiments as experiments_module
from tuned.storage.queries import improvements as improvements_module
from tuned.storage.queries import running as running_module
from tuned.storage.queries.marks import Mark, marks
from tuned.storage.queries.readable import readable
from tuned.storage.queries.running import RunningView

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tuned.protocol.experiments import ExperimentSummary, ExperimentView
    from tuned.protocol.host import Status
    from tuned.protocol.trials import BestsView, ImprovementView, ReportView, StoryView, TrialView
    from tuned.storage.database import Database
    from tuned.storage.hosts import HostRow
    from tuned.web.host import Host

T = TypeVar("T")

#: A look is not older than so much.
LOOK_SECONDS = 1.0

#: How many trials the page of an experiment lists, and how many of a front.
MOST_TRIALS = 50

#: How many experiments and trials are remembered as they were read.
_MOST_KEPT = 200


class Run(RunningView):
    """A trial that runs, with what this host's daemon tells of its own ones."""

    #: Empty before one, and for a trial of another host.
    last_line: str
    gpus: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One experiment in the list of all."""

    mark: Mark
    summary: ExperimentSummary
    #: How its best value came about; empty with several objectives.
    course: tuple[ImprovementView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All that the database and this host's daemon say at one moment."""

    #: One more each time that something is different.
    revision: int = 0
    hosts: tuple[HostRow, ...] = ()
    #: The newest first.
    experiments: tuple[Experiment, ...] = ()
    running: tuple[Run, ...] = ()
    #: None if no daemon of this host answers.
    local: Status | None = None
    #: Why the rest is as old as it is; empty if it is not.
    trouble: str = ""

    def of(self, name: str) -> Experiment | None:
        return next((each for each in self.experiments if each.summary["name"] == name), None)

    def running_of(self, name: str) -> tuple[Run, ...]:
        return tuple(each for each in self.running if each["experiment"] == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One experiment, as its own page shows it."""

    view: ExperimentView
    bests: BestsView
    trials: list[TrialView]
    curves: Mapping[int, list[ReportView]]


@dataclass(slots=True)
class _Kept:
    key: object
    value: Any


@dataclass(slots=True)
class Reader:
    """Looks when somebody asks, and once for all who ask at the same time."""

    database: Database
    host: Host
    _fleet: Fleet = field(default_factory=Fleet)
    _looked: float = float("-inf")
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="reader")
    )
    _kept: dict[object, _Kept] = field(default_factory=dict)
    _experiments: dict[int, Experiment] = field(default_factory=dict)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def fleet(self) -> Fleet:
        """As it was within the last second."""
        async with self._looking:
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                local = await self.host.status()
                self._fleet = await self._in_thread(lambda: self._look(local))
                self._looked = time.monotonic()
            return self._fleet

    def forget_look(self) -> None:
        """The next one to ask gets a new look, because something was changed."""
        self._looked = float("-inf")

    async def detail(self, name: str) -> Detail:
        """Raises NotFound, Conflict, DatabaseAway."""
        fleet = await self.fleet()
        found = fleet.of(name)
        key = (found and found.mark, fleet.running_of(name))
        return await self._in_thread(lambda: self._once(name, key, lambda: self._detail(name, found)))

    async def story(self, name: str, number: int) -> StoryView:
        """Raises NotFound, Conflict, DatabaseAway."""
        fleet = await self.fleet()
        found = fleet.of(name)
        own = tuple(each for each in fleet.running_of(name) if each["number"] == number)
        key = (found and found.mark, own)
        return await self._in_thread(
            lambda: self._once(
                (name, number), key, lambda: experiments_module.story(self.database, name, number)
            )
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _once(self, of: object, key: object, read: Callable[[], T]) -> T:
        """The value as it was read for the same key."""
        kept = self._kept.get(of)
        if kept is None or kept.key != key:
            kept = _Kept(key, read())
            self._kept[of] = kept
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        value: T = kept.value
        return value

    def _look(self, local: Status | None) -> Fleet:
        before = self._fleet
        try:
            with readable():
                found = self._read(before.revision, local)
        except TunedError as error:
            text = (
                "the database is away" if isinstance(error, DatabaseAway) else "the database cannot be read"
            )
            found = replace(before, local=_steady(local), trouble=f"{text}: {error}")
        return found if found == before else replace(found, revision=before.revision + 1)

    def _read(self, revision: int, local: Status | None) -> Fleet:
        return Fleet(
            revision=revision,
            hosts=tuple(replace(row, beat=0) for row in hosts_module.hosts(self.database)),
            experiments=self._read_experiments(),
            running=_told_here(running_module.running(self.database), local),
            local=_steady(local),
        )

    def _read_experiments(self) -> tuple[Experiment, ...]:
        found = marks(self.database)
        changed = [
            each
            for each in found
            if (kept := self._experiments.get(each.study_id)) is None or kept.mark != each
        ]
        by_name = {each.name: each for each in changed}
        if changed:
            ids = {each.study_id for each in changed}
            for summary in experiments_module.summaries(self.database, ids):
                if mark := by_name.get(summary["name"]):
                    self._experiments[mark.study_id] = Experiment(
                        mark=mark, summary=summary, course=self._course(mark.study_id, summary)
                    )
        known = [self._experiments[each.study_id] for each in found if each.study_id in self._experiments]
        self._experiments = {each.mark.study_id: each for each in known}
        return tuple(reversed(known))

    def _course(self, study_id: int, summary: ExperimentSummary) -> tuple[ImprovementView, ...]:
        if len(summary["directions"]) != 1 or summary["best"] is None:
            return ()
        known = self._experiments.get(study_id)
        # It is read again for a better value only, because the database has to look at all trials for it.
        if known is not None and known.course and known.summary["best"] == summary["best"]:
            return known.course
        return tuple(improvements_module.improvements(self.database, study_id)["improvements"])

    def _detail(self, name: str, found: Experiment | None) -> Detail:
        study_id = experiments_module.find(self.database, name)
        summary = found.summary if found else None
        return Detail(
            view=experiments_module.experiment(self.database, name, summary),
            bests=_single(summary) or experiments_module.best(self.database, study_id),
            trials=experiments_module.trials(
                self.database, study_id, state=None, before=None, limit=MOST_TRIALS
            ),
            curves=running_module.curves(self.database, study_id),
        )


def _single(summary: ExperimentSummary | None) -> BestsView | None:
    """Of one objective it is known already; None if it must be read."""
    if summary is None or len(summary["directions"]) != 1 or summary["state"] == "unreadable":
        return None
    best = summary["best"]
    return {"best": [] if best is None else [best], "nearest": summary["nearest"]}


def _steady(local: Status | None) -> Status | None:
    """Without the numbers that are different at each look, whatever happens."""
    if local is None:
        return None
    steady = local.copy()
    steady["uptime_seconds"] = 0.0
    # They are in `running`, which the whole fleet shares.
    steady["slots"] = []
    steady["experiments"] = []
    return steady


def _told_here(running: list[RunningView], local: Status | None) -> tuple[Run, ...]:
    """This host's daemon knows newer reports of its own trials than the database."""
    here = {
        (run["experiment"], run["trial"]): run
        for slot in (local["slots"] if local else [])
        if (run := slot["running"]) is not None
    }
    runs: list[Run] = []
    for each in running:
        run = here.get((each["experiment"], each["number"]))
        report = (run["report"] if run else None) or each["report"]
        line = run.get("last_line", "") if run else ""
        runs.append({**each, "report": report, "last_line": line, "gpus": run["gpus"] if run else []})
    return tuple(runs)
