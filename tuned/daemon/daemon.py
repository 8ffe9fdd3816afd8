"""The life of the daemon process: start, serve, drain or abort, and stop.

It wires the rooms together and holds the one state of the host. Handlers of signals only record a request;
``_main`` and ``Reloads.run`` carry it out.
"""

from __future__ import annotations

import asyncio
import functools
import signal
from typing import TYPE_CHECKING

import structlog

from tuned.control import routes
from tuned.daemon.api import Api
from tuned.daemon.experiments import Experiments
from tuned.daemon.files.shared_files import membership_of
from tuned.daemon.fleet import Fleet
from tuned.daemon.live_values import LiveValues
from tuned.daemon.reconciliation import Reconciliation
from tuned.daemon.reloads import Reloads, needs_restart
from tuned.daemon.retrying import retried
from tuned.daemon.scheduler import Scheduler
from tuned.daemon.teller import Teller
from tuned.daemon.upkeep.code import tidied
from tuned.daemon.upkeep.description import Description
from tuned.daemon.upkeep.hours import WorkingHours
from tuned.daemon.upkeep.notices import Notices
from tuned.daemon.upkeep.requests import Requests
from tuned.daemon.upkeep.restart import Restart, own_command
from tuned.daemon.upkeep.retention import Retention
from tuned.daemon.upkeep.sickness import Sickness
from tuned.daemon.upkeep.signals import handled
from tuned.disk.outbox import Outbox
from tuned.domain.states import HOST_TRANSITIONS, HostState, advance
from tuned.errors import DatabaseAway
from tuned.events import Events
from tuned.keeper.process import KeeperProcess
from tuned.storage.database import Database
from tuned.storage.link import Link
from tuned.systemd import log
from tuned.systemd.notify import Notifier
from tuned.trial.evaluation import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from tuned.config.settings import Settings
    from tuned.daemon.upkeep.until_done import UntilDone
    from tuned.disk.spool import Spool
    from tuned.disk.state import StateDirectory

_log: FilteringBoundLogger = structlog.get_logger()

#: How long an abort may tell and settle after the processes are gone; the next start settles the rest.
SETTLE_SECONDS = 10.0

#: How long killed processes may take to be gone.
KILL_SECONDS = 20.0


class Daemon:
    """One run of the daemon on one host."""

    def __init__(
        self,
        settings: Settings,
        state: StateDirectory,
        spool: Spool,
        reload: Callable[[], Settings],
        environ: Mapping[str, str],
    ) -> None:
        self._settings = settings
        self._state = HostState.STARTING
        self._wanted = asyncio.Event()
        self._restart = Restart(environ, lambda: self._state, self._wanted.set, own_command())
        self._notifier = Notifier()
        self._reloads = Reloads(reload, self._apply, state=lambda: self._state, notifier=self._notifier)
        self._events = Events(settings.host)
        # Caps the backoff at a beat: if this host reconnects too late, the fleet declares it dead.
        self._link = Link(
            Database(settings.storage), self._events, last_retry_seconds=settings.interval_seconds
        )
        self._site = Site.here(
            host=settings.host,
            state=state,
            grace_seconds=settings.grace_seconds,
            service=settings.trials_service,
        )
        self._teller = Teller(self._link, Outbox(state.outbox))
        self._keeper = keeper = KeeperProcess(
            self._site, settings.slots, settings.log_format, settings.patience_seconds
        )
        doer = keeper if self._site.service else None
        self._scheduler = Scheduler(self._link, self._teller, self._site, keeper, settings.slots, doer=doer)
        self._notices = Notices(self._link, self._site, keeper)
        self._experiments = Experiments(self._link, spool, self._scheduler, self._events, self._notices.wake)
        self._hours = WorkingHours(self._link, self._scheduler, claimant=lambda: self._fleet.claimant)
        self._description = self._wired_description(environ)
        self._fleet = self._made_fleet(state.installation_id)
        self._reconciliation = Reconciliation(
            self._link, self._teller, self._scheduler, claimant=lambda: self._fleet.claimant
        )
        self._retention = Retention(self._link, self._events, self._scheduler, settings.keep)
        self._api = self._wired_api()
        #: The slots' task, once this host has joined the fleet.
        self._work: asyncio.Task[None] | None = None
        #: Gives the experiments to this host's newest incarnation.
        self._taking_up: asyncio.Task[None] | None = None
        #: Tasks that serve the slots, and are needed until the slots are empty.
        self._background: list[asyncio.Task[None]] = []

    async def serve(self, until_done: UntilDone) -> HostState:
        """Runs until the host is drained or aborted, and says which. Raises TunedError if it cannot start."""
        if self._site.service is not None:
            # Experiments are looked at with what it says of this host.
            await self._keeper.begin()
        self._equip(self._settings)
        control_mode = self._settings.control_mode
        signals = {
            signal.SIGTERM: self.request_abort,
            signal.SIGINT: self._interrupt,
            signal.SIGHUP: self._reloads.request,
        }
        with handled(signals):
            async with (
                routes.serve(self._api, self._settings.socket, mode=control_mode),
                asyncio.TaskGroup() as group,
            ):
                interval = self._settings.interval_seconds
                loops = (
                    self._link.watch(), self._description.run(), self._reloads.run(),
                    self._api.exporter.run(),
                    until_done.run(
                        self._experiments, self._scheduler, self._events, self.request_drain, interval
                    ),
                )  # fmt: skip
                services = [group.create_task(loop) for loop in loops]
                await self._main(group)
                for service in services:
                    service.cancel()
        self._link.close()
        if self._site.cgroups is not None and self._site.service is None:
            self._site.cgroups.remove()
        ended = self._state
        self._enter(HostState.STOPPED)
        return ended

    def _wired_description(self, environ: Mapping[str, str]) -> Description:
        return Description(
            self._notifier,
            environ,
            state=lambda: self._state,
            link=self._link,
            scheduler=self._scheduler,
            teller=self._teller,
            hours=self._hours,
        )

    def _made_fleet(self, installation_id: str) -> Fleet:
        settings = self._settings
        requests = Requests(
            self._link, drain=self.request_drain, abort=self.request_abort,
            check=self._restart.check, restart=self._restart.begin,
        )  # fmt: skip
        return Fleet(
            self._link, host=settings.host, installation_id=installation_id,
            interval_seconds=settings.interval_seconds, expire_seconds=settings.expire_seconds,
            describe=self._description.info, on_asked=requests.carry_out,
        )  # fmt: skip

    def _wired_api(self) -> Api:
        return Api(
            settings=self._settings,
            events=self._events,
            link=self._link,
            site=self._site,
            teller=self._teller,
            scheduler=self._scheduler,
            local_experiments=self._experiments,
            fleet=self._fleet,
            retention=self._retention,
            hours=self._hours,
            state=lambda: self._state,
            request_drain=self.request_drain,
            request_abort=self.request_abort,
            request_restart=self._restart.request,
        )

    def request_drain(self) -> HostState:
        """Lets the running trials finish, then stops."""
        self._advance_to(HostState.DRAINING)
        return self._state

    def request_abort(self) -> HostState:
        """Kills the running trials, and stops."""
        self._advance_to(HostState.ABORTING)
        return self._state

    async def _main(self, group: asyncio.TaskGroup) -> None:
        joining = group.create_task(self._join(group))
        watching = group.create_task(self._experiments.watch(self._begin))
        while self._state in (HostState.STARTING, HostState.RUNNING):
            await self._wanted.wait()
            self._wanted.clear()
            if self._restart.is_wanted:
                await self._restart.carry_out(self._handed_over, self._keeper.leave)
                self._scheduler.go_on()
        watching.cancel()
        if self._state is HostState.DRAINING:
            await self._drain(joining)
        joining.cancel()
        # Only after a drain: it takes as long as its trials, and the service manager would time out.
        self._notifier.stopping(self._settings.grace_seconds + KILL_SECONDS + SETTLE_SECONDS)
        if self._state is HostState.ABORTING:
            await self._abort()
        for task in (*self._background, self._taking_up):
            if task is not None:
                task.cancel()

    async def _handed_over(self) -> None:
        """Waits until the keeper has all that is claimed, and the disk what ended; within bounds."""
        await self._scheduler.beginnings.hold()
        await self._scheduler.written()
        await self._teller.written()

    async def _join(self, group: asyncio.TaskGroup) -> None:
        """Joins the fleet as soon as the database is there, and starts the slots."""
        # A keeper takes as long to begin as all that comes before it is needed.
        keeping = group.create_task(self._keeper.begin())
        await self._teller.restore()
        safe = self._teller.claims.keys()
        await retried(self._link, "prepare the database", self._link.prepare)
        recall = functools.partial(self._reconciliation.recall, self._settings.host)
        await retried(self._link, "recall what was told", recall)
        self._background.append(group.create_task(self._teller.run(self._experiments.on_told)))
        # Results that an earlier daemon could not tell come before its trials are settled as lost.
        await self._teller.emptied()
        await self._experiments.restore()
        # If it fails, so does this whole group.
        await asyncio.wait([keeping])
        await self._scheduler.adoptions.look(safe)
        claimant = await self._fleet.join(self._scheduler.adoptions.claims)
        self._scheduler.adoptions.take_over(self._fleet.adopted, claimant)
        self._background.append(group.create_task(self._fleet.run(lambda: self._rejoin(group))))
        await asyncio.wait([self._begin_taking_up(group)])
        interval = self._settings.interval_seconds
        sickness = Sickness(self._link, self._experiments.searches, self._experiments.check)
        upkeep = (
            self._experiments.follow(interval), self._reconciliation.run(interval), self._retention.run(),
            LiveValues(self._link, self._scheduler).run(), tidied(self._link, self._scheduler),
            self._hours.run(), self._notices.run(), self._scheduler.card_users.look(),
            sickness.run(interval),
        )  # fmt: skip
        self._background += [group.create_task(loop) for loop in upkeep]
        self._work = group.create_task(self._scheduler.run())
        _log.info("host joined", slots=len(self._scheduler.slots))

    def _begin(self) -> None:
        """Reports readiness: the socket answers, and the spool is watched."""
        if self._state is HostState.STARTING:
            self._enter(HostState.RUNNING)
            self._notifier.ready()

    async def _rejoin(self, group: asyncio.TaskGroup) -> None:
        """Kills the trials, whose points other hosts have by now, and joins again as a new incarnation."""
        if self._taking_up is not None:
            self._taking_up.cancel()
            await asyncio.wait([self._taking_up])
        await self._scheduler.kill_all()
        self._scheduler.adoptions.take_over((), await self._fleet.join())
        self._begin_taking_up(group)

    def _begin_taking_up(self, group: asyncio.TaskGroup) -> asyncio.Task[None]:
        # A task of its own: samplers read whole histories, and the new incarnation must beat meanwhile.
        self._taking_up = group.create_task(self._take_up())
        return self._taking_up

    async def _take_up(self) -> None:
        """Gives the experiments to the incarnation that has just joined."""
        assert self._fleet.claimant is not None
        claimant = self._fleet.claimant
        await self._fleet.settle_orphans()
        await retried(self._link, "take up the experiments", lambda: self._experiments.hold(claimant))

    async def _drain(self, joining: asyncio.Task[None]) -> None:
        """Waits until the slots are empty and the database knows what they found. An abort ends the wait."""
        self._scheduler.drain()
        aborted = asyncio.ensure_future(self._aborted())
        drained = asyncio.ensure_future(self._drained(joining))
        try:
            await asyncio.wait([aborted, drained], return_when=asyncio.FIRST_COMPLETED)
        finally:
            aborted.cancel()
            drained.cancel()

    async def _drained(self, joining: asyncio.Task[None]) -> None:
        if await self._keeper.kept_when_ready():
            # Trials of an earlier daemon run: they too are waited for, and told.
            await asyncio.wait([joining])
        joining.cancel()
        await asyncio.wait([joining])
        if self._work is not None:
            await asyncio.wait([self._work])
        # Once the slots have ended, no command can run.
        await self._notices.leave()
        await self._slots_ended()
        # If the database is away, the results are safe in the outbox: the next start tells them.
        lost = asyncio.ensure_future(self._link.lost())
        # Nobody tells them if the drain came while this host was joining.
        told = asyncio.ensure_future(self._teller.emptied() if self._background else asyncio.sleep(0))
        try:
            await asyncio.wait([told, lost], return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
            lost.cancel()
        await self._fleet.leave()

    async def _slots_ended(self) -> None:
        """Waits until nothing runs any more, and all results are on disk."""
        if self._work is not None:
            await asyncio.wait([self._work])
        # First: the keeper forgets what is written.
        await self._teller.written()
        await self._keeper.close()

    async def _aborted(self) -> None:
        self._wanted.clear()
        while self._state is not HostState.ABORTING:
            await self._wanted.wait()
            self._wanted.clear()

    async def _abort(self) -> None:
        """Kills the running trials and settles them; if the database is away, the next start settles them."""
        if self._work is not None:
            self._work.cancel()
        else:
            await self._scheduler.kill_all()
        await self._slots_ended()
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._settle()
        except (TimeoutError, DatabaseAway):
            _log.warning("database away: the next start settles what ran", untold=len(self._teller))

    async def _settle(self) -> None:
        # A claim that was under way when its slot was stopped may just have been granted.
        await self._link.landed(SETTLE_SECONDS)
        if self._link.message is not None or self._fleet.claimant is None:
            return
        await self._teller.emptied()
        for search in list(self._experiments.searches.values()):
            try:
                await self._scheduler.settle(search, self._fleet.claimant.incarnation)
            except DatabaseAway:
                raise
            except Exception:
                search.log.exception("trials not settled: the next start settles them")
        await self._fleet.leave()

    def _advance_to(self, state: HostState) -> None:
        if state in HOST_TRANSITIONS[self._state]:
            self._enter(state)
            self._wanted.set()

    def _enter(self, state: HostState) -> None:
        self._state = advance(HOST_TRANSITIONS, self._state, state)
        _log.info("host state", state=state.value)
        self._events.publish("host-state", state=state.value)
        self._description.send()

    def _interrupt(self) -> None:
        """Drains at the first Ctrl-C, and aborts at the second."""
        if self._state is HostState.DRAINING:
            self.request_abort()
        else:
            self.request_drain()

    def _equip(self, settings: Settings) -> None:
        sees_none = self._site.service is not None and settings.looks_for_gpus
        self._notices.wish(settings.wishes)
        self._scheduler.equip(self._site.gpus if sees_none else settings.gpus, membership_of(settings))
        self._scheduler.card_users.limit(settings.gpus_in_use)
        self._hours.limit(settings.hours, settings.when_over)

    def _apply(self, settings: Settings) -> None:
        """Takes over the settings that a running daemon can change."""
        log.configure(settings.log_format, host=settings.host)
        self._keeper.log_as(settings.log_format)
        self._scheduler.resize(settings.slots)
        self._equip(settings)
        self._retention.limit(settings.keep)
        changed = sorted(needs_restart(self._settings, settings))
        if changed:
            _log.warning("settings changed that need a restart", settings=changed)
        _log.info("configuration reloaded", slots=settings.slots, gpus=settings.gpus)
