"""Settles the trials of a killed daemon, if its service manager will not start it again by itself.

This room owns the life of that short process: it does what a start does before its first claim, and leaves
the fleet. It must never claim or run anything, nor take longer than a service manager waits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from tuned import __version__
from tuned.daemon.fleet import Fleet
from tuned.daemon.teller import Teller
from tuned.disk.outbox import Outbox
from tuned.domain.states import HostState
from tuned.errors import DatabaseAway
from tuned.events import Events
from tuned.keeper.process import KeeperProcess
from tuned.storage.database import Database
from tuned.storage.hosts import HostInfo
from tuned.storage.link import Link
from tuned.storage.trials.remembered import told_by
from tuned.trial import process_table
from tuned.trial.evaluation import Site

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.config.settings import Settings
    from tuned.disk.state import StateDirectory
    from tuned.domain.result import Result, TellOutcome

_log: FilteringBoundLogger = structlog.get_logger()

#: Less than a service manager waits. If the database is away for longer, the next start settles.
WITHIN_SECONDS = 10.0


async def settle(settings: Settings, state: StateDirectory) -> None:
    """Tells the results in the outbox, ends this host's trials and leaves the fleet."""
    site = Site(
        host=settings.host,
        state=state,
        service=settings.trials_service,
        cgroups=None,
        grace_seconds=settings.grace_seconds,
    )
    await KeeperProcess(site, settings.slots, settings.log_format, settings.patience_seconds).end_living()
    await process_table.kill_installation(state.installation_id)
    events = Events(settings.host)
    link = Link(Database(settings.storage), events, last_retry_seconds=settings.interval_seconds)
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            await _settle(settings, state, link)
    except (TimeoutError, DatabaseAway) as error:
        _log.warning("database away: the next start settles what ran", reason=str(error))
    finally:
        link.close()


async def _settle(settings: Settings, state: StateDirectory, link: Link) -> None:
    await link.prepare()
    teller = Teller(link, Outbox(state.outbox))
    await teller.restore()
    await teller.recall(await link.call(told_by, settings.host))
    telling = asyncio.create_task(teller.run(_on_told))
    await teller.emptied()
    telling.cancel()
    fleet = Fleet(
        link,
        host=settings.host,
        installation_id=state.installation_id,
        interval_seconds=settings.interval_seconds,
        expire_seconds=settings.expire_seconds,
        describe=lambda: HostInfo(state=HostState.STOPPED, slots=settings.slots, version=__version__),
    )
    await fleet.join()
    await fleet.settle_orphans()
    await fleet.leave()


async def _on_told(result: Result, outcome: TellOutcome) -> None:
    _log.info("result told", trial=result.number, became=outcome.value)
