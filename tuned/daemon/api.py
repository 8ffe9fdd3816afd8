"""The answers of this host to the control socket: from its own memory, and from the database.

It decides nothing about experiments: it hands each change to its owner in this wing. It hides nothing from a
peer: the socket does.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tuned import __version__
from tuned.config.paths import is_service
from tuned.config.settings import Settings
from tuned.config.storage_url import redacted
from tuned.control import metrics
from tuned.control.exporter import Exporter
from tuned.daemon import doctor, views
from tuned.daemon.answers import tables
from tuned.daemon.answers.summaries import Summaries
from tuned.daemon.trials import outputs
from tuned.daemon.upkeep.requests import ask_host
from tuned.disk import checkup, trial_log
from tuned.disk.arrivals import active_path, kept_path
from tuned.disk.layout import study_folder
from tuned.domain.ending import Cause
from tuned.domain.states import HostCommand, HostState, SearchState, StudyState
from tuned.errors import NotFound
from tuned.storage.changes import Author
from tuned.storage.hosts import forget, held, hosts
from tuned.storage.queries import experiments, improvements
from tuned.storage.queries.host_views import host_view
from tuned.storage.studies import study_statuses
from tuned.trial import cgroup
from tuned.trial.evaluation import Site

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from tuned.daemon.experiments import Experiments
    from tuned.daemon.fleet import Fleet
    from tuned.daemon.scheduler import Scheduler
    from tuned.daemon.teller import Teller
    from tuned.daemon.trials.running import Running
    from tuned.daemon.upkeep.hours import WorkingHours
    from tuned.daemon.upkeep.retention import Retention
    from tuned.events import Events
    from tuned.protocol.disk import CleanView
    from tuned.protocol.experiments import (
        AmendedView,
        DeletedView,
        ExperimentSummary,
        ExperimentView,
        ReplacedView,
        RetryView,
    )
    from tuned.protocol.fields import HostStateName, TrialStateName
    from tuned.protocol.fleet import FindingView, FixedView, HostReply, HostView
    from tuned.protocol.host import DatabaseView, Status
    from tuned.protocol.tables import ExportView, ImportedView
    from tuned.protocol.trials import BestsView, ImprovementsView, StoryView, TrialView
    from tuned.storage.link import Link


@dataclass(kw_only=True)
class Api:
    """The daemon behind ``control.host.Host``."""

    settings: Settings
    events: Events
    link: Link
    site: Site
    teller: Teller
    scheduler: Scheduler
    local_experiments: Experiments
    fleet: Fleet
    retention: Retention
    hours: WorkingHours
    state: Callable[[], HostState]
    request_drain: Callable[[], HostState]
    request_abort: Callable[[], HostState]
    request_restart: Callable[[], Awaitable[HostState]]

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self.exporter = Exporter(self, self.settings.metrics_listen)
        self._summaries = Summaries(self.link, self.local_experiments, self.scheduler)

    async def reach_database(self, seconds: float) -> None:
        await self.link.ready(seconds)

    async def status(self, *, has_output: bool = False) -> Status:
        slots = list(self.scheduler.slots)
        lines = await outputs.last_lines(slots) if has_output else {}
        return {
            "host": self.settings.host,
            "state": self.state().value,
            "version": __version__,
            "pid": os.getpid(),
            "is_service": is_service(os.environ),
            "uptime_seconds": time.monotonic() - self._began,
            "isolation": self._isolation(),
            "limits": cgroup.kept(self.site.cgroups),
            "trials_user": None if self.site.service is None else self.site.service.user,
            "gpus": views.gpus(self.scheduler.gpus),
            "hours": list(self.hours.hours.texts),
            "off": self.hours.off,
            "spool": str(self.settings.spool),
            "database": self._database(),
            "slots": [views.slot(number, each, lines.get(number)) for number, each in enumerate(slots)],
            "experiments": await self._summaries.active(),
            "warnings": [*self._warnings(), *await self.retention.warnings()],
        }

    async def metrics(self) -> bytes:
        space = await asyncio.to_thread(checkup.space, self.settings.state_dir)
        searches = self.local_experiments.searches.values()
        local = metrics.Local(
            experiment_states={search.name: search.state.value for search in searches},
            space=space,
            peers=[
                metrics.Peer(name=each.row.name, is_alive=not each.row.dead, age_seconds=each.age_seconds())
                for each in self.fleet.sightings
                if not each.row.dead or each.row.info.state is not HostState.STOPPED
            ],
        )
        return metrics.render(await self.status(), local, self.scheduler.endings)

    async def experiments(self) -> Sequence[ExperimentSummary]:
        found = await self.link.ask(experiments.summaries, None)
        return [self._summaries.localized(summary) for summary in found]

    async def experiment(self, name: str) -> ExperimentView:
        view = await self.link.ask(experiments.experiment, self._study_name(name))
        view["summary"] = self._summaries.localized(view["summary"])
        outputs = self.site.layout.trials / await self._output_folder(name)
        if search := self.local_experiments.search_of(view["summary"]["name"]):
            view["parallel"] = search.experiment.parallel
            view["resources"] = views.resources(search.experiment.resources)
            view["file"] = str(active_path(self.settings.spool, search.file))
            view["env"] = dict(search.experiment.objective.env)
        else:
            kept = await asyncio.to_thread(kept_path, self.settings.spool, name)
            view["file"] = None if kept is None else str(kept)
        view["outputs"] = str(outputs) if await asyncio.to_thread(outputs.is_dir) else None
        return view

    async def trials(
        self,
        name: str,
        *,
        state: TrialStateName | None,
        before: int | None,
        limit: int,
        is_by_value: bool = False,
    ) -> Sequence[TrialView]:
        study_id = await self._study_id(name)
        if is_by_value:
            return await self.link.ask(experiments.trials_by_value, study_id, state=state, limit=limit)
        return await self.link.ask(experiments.trials, study_id, state=state, before=before, limit=limit)

    async def story(self, name: str, number: int) -> StoryView:
        view = await self.link.ask(experiments.story, self._study_name(name), number)
        files = self.site.layout.trial(await self._output_folder(name), number)
        view["output"] = str(files.log) if await asyncio.to_thread(files.has_output) else None
        return view

    async def best(self, name: str, limit: int | None = None) -> BestsView:
        return await self.link.ask(experiments.best, await self._study_id(name), limit)

    async def improvements(self, name: str) -> ImprovementsView:
        return await self.link.ask(improvements.improvements, await self._study_id(name))

    async def logs(
        self, name: str, number: int | None, *, follow: bool, is_setup: bool = False, tail: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        if is_setup:
            view = await self.link.ask(experiments.experiment, self._study_name(name))
            log, setup = await self.scheduler.code.setup_log(name, view["definition"])
            return trial_log.read(log, setup if follow else None, self.scheduler.written)
        folder = await self._output_folder(name)
        if number is None:
            number = await self._newest(name, folder)
        files = self.site.layout.trial(folder, number)
        if not await asyncio.to_thread(files.has_output):
            study_id = await self._study_id(name)
            return await outputs.kept_elsewhere(
                self.link, study_id, name, number, host=self.settings.host, tail=tail
            )
        running = self._running(name, number)
        task = running.task if running is not None and follow else None
        return trial_log.read(files.log, task, self.scheduler.written, tail)

    async def hosts(self) -> Sequence[HostView]:
        rows = await self.link.ask(hosts)
        running = await self.link.ask(held)
        ages = {sighting.row.incarnation: sighting.age_seconds() for sighting in self.fleet.sightings}
        return [host_view(row, running.get(row.incarnation, 0), ages.get(row.incarnation)) for row in rows]

    async def forget(self, name: str) -> Sequence[HostView]:
        await self.link.call(forget, name)
        return await self.hosts()

    async def drain(self) -> HostStateName:
        return self.request_drain().value

    async def abort(self) -> HostStateName:
        return self.request_abort().value

    async def restart(self) -> HostStateName:
        return (await self.request_restart()).value

    async def command(self, host: str, command: HostCommand, user: str) -> HostReply:
        if host == self.settings.host:
            orders = {
                HostCommand.DRAIN: self.drain,
                HostCommand.ABORT: self.abort,
                HostCommand.RESTART: self.restart,
            }
            return {"host": host, "state": await orders[command](), "seen_seconds": 0.0}
        interval = self.settings.interval_seconds
        me = self.settings.host
        return await ask_host(self.link, host, command, user=user, asked_on=me, interval_seconds=interval)

    async def cancel(self, name: str, user: str) -> ExperimentSummary:
        return await self._set_state(name, StudyState.CANCELLED, user)

    async def pause(self, name: str) -> ExperimentSummary:
        return await self._set_state(name, StudyState.PAUSED)

    async def resume(self, name: str) -> ExperimentSummary:
        return await self._set_state(name, StudyState.OPEN)

    async def retry(self, name: str, cause: Cause | None) -> RetryView:
        name = self._study_name(name)
        freed = await self.local_experiments.retry(name, cause)
        return {"freed": freed, **await self._amended(name)}

    async def replace(self, name: str, content: bytes, user: str, *, code_of: int | None) -> ReplacedView:
        name, author = self._study_name(name), Author(user=user, host=self.settings.host)
        change = self.local_experiments.replace(name, content, author, code_of)
        return {"changes": [*await change], **await self._amended(name)}

    async def delete(self, name: str, *, is_forced: bool) -> DeletedView:
        trials = await self.local_experiments.delete(self._study_name(name), is_forced=is_forced)
        return {"name": name, "trials": trials}

    async def export(self, name: str, *, after: int, limit: int, has_reports: bool) -> ExportView:
        name = self._study_name(name)
        return await tables.exported(self.link, name, after=after, limit=limit, has_reports=has_reports)

    async def import_rows(self, name: str, rows: bytes) -> ImportedView:
        return await tables.imported(self.link, await self._study_id(name), name, rows)

    async def clean(self, name: str | None, *, is_dry: bool) -> CleanView:
        return await self.retention.clean(name and self._study_name(name), is_dry=is_dry)

    async def doctor(self) -> Sequence[FindingView]:
        is_member = self.fleet.claimant is not None
        found = await doctor.examine(self.settings, self.link, is_member=is_member)
        paused = [
            doctor.paused_finding(search.name, search.reason)
            for search in self.local_experiments.searches.values()
            if search.state is SearchState.PAUSED
        ]
        return [*found, *paused, *self.site.findings(), *self.scheduler.card_users.findings()]

    async def fix(self) -> FixedView:
        fixed = await doctor.fix(self.settings, self.link, is_member=self.fleet.claimant is not None)
        return {"fixed": fixed, "findings": list(await self.doctor())}

    async def _amended(self, study_name: str) -> AmendedView:
        study_id = await self.link.ask(experiments.find, study_name)
        [summary] = await self.link.ask(experiments.summaries, [study_id])
        found = (await self.link.ask(study_statuses, [study_id])).get(study_id)
        return {
            "experiment": self._summaries.localized(summary),
            "is_full": found is not None and found.is_full and found.state is not StudyState.CANCELLED,
            "runs_here": self.local_experiments.search_of(study_name) is not None,
        }

    async def _set_state(self, name: str, state: StudyState, user: str | None = None) -> ExperimentSummary:
        study_name = self._study_name(name)
        await self.local_experiments.set_state(study_name, state, user)
        study_id = await self.link.ask(experiments.find, study_name)
        [summary] = await self.link.ask(experiments.summaries, [study_id])
        return self._summaries.localized(summary)

    async def _study_id(self, name: str) -> int:
        return await self.link.ask(experiments.find, self._study_name(name))

    def _study_name(self, name: str) -> str:
        """The name that the study of an experiment has now: another program may have renamed it."""
        search = self.local_experiments.searches.get(name)
        return name if search is None else search.status.name

    def _database(self) -> DatabaseView:
        return {
            "url": redacted(self.settings.storage),
            "reachable": self.link.problem is None,
            "message": self.link.problem,
            "pending_results": len(self.teller),
        }

    def _isolation(self) -> Literal["cgroup", "best-effort"]:
        return "best-effort" if self.site.cgroups is None else "cgroup"

    def _warnings(self) -> list[str]:
        found = list(self.settings.warnings)
        if waiting := self.local_experiments.admission.waiting:
            found.append(f"waiting for the database to open: {', '.join(waiting)}")
        found += [
            f"cannot open {each.taken.file}: {each.fault.reason}; it is tried again"
            for each in self.local_experiments.admission.resting
            if each.fault is not None
        ]
        if self._summaries.unread:
            found.append(self._summaries.unread)
        if self.local_experiments.spool_problem:
            found.append(self.local_experiments.spool_problem)
        if self.scheduler.card_users.problem:
            found.append(self.scheduler.card_users.problem)
        if self.exporter.problem:
            found.append(self.exporter.problem)
        if self.fleet.waits_for_name:
            found.append(
                f"another daemon has the name {self.settings.host}: waiting to see whether it is alive"
            )
        return found

    async def _output_folder(self, name: str) -> str:
        return study_folder(*await self.link.ask(experiments.outputs_of, await self._study_id(name)))

    def _running(self, name: str, number: int) -> Running | None:
        """A trial, if it runs here."""
        search = self.local_experiments.search_of(self._study_name(name))
        running = [] if search is None else self.scheduler.running(search.name)
        return next((each for each in running if each.claimed.number == number), None)

    async def _newest(self, name: str, folder: str) -> int:
        newest = await asyncio.to_thread(self.site.layout.newest_trial, folder)
        if newest is None:
            raise NotFound(f"cannot show output of {name}: no trial of it has run on this host")
        return newest
