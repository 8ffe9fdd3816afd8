"""The words of this host on itself: a line for the service manager, with its pings, and facts for the fleet.

It must never wait for anything but the time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import optuna

from tuned import __version__
from tuned.daemon.views import resting
from tuned.domain.counts import counted
from tuned.storage.hosts import HostInfo
from tuned.systemd.notify import watchdog_interval_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tuned.daemon.scheduler import Scheduler
    from tuned.daemon.teller import Teller
    from tuned.daemon.upkeep.hours import WorkingHours
    from tuned.domain.states import HostState
    from tuned.storage.link import Link
    from tuned.systemd.notify import Notifier

#: How often the line is sent if the service manager has no watchdog.
STATUS_SECONDS = 10.0


class Description:
    """Belongs to the event loop's thread."""

    def __init__(
        self,
        notifier: Notifier,
        environ: Mapping[str, str],
        *,
        state: Callable[[], HostState],
        link: Link,
        scheduler: Scheduler,
        teller: Teller,
        hours: WorkingHours,
    ) -> None:
        self._notifier = notifier
        self._watchdog_seconds = watchdog_interval_seconds(environ)
        self._state = state
        self._link = link
        self._scheduler = scheduler
        self._teller = teller
        self._hours = hours

    async def run(self) -> None:
        """Loop: ping the watchdog and update STATUS=."""
        pause = min(self._watchdog_seconds or STATUS_SECONDS, STATUS_SECONDS)
        while True:
            if self._watchdog_seconds is not None:
                self._notifier.watchdog()
            self.send()
            await asyncio.sleep(pause)

    def send(self) -> None:
        """Updates STATUS=."""
        self._notifier.status(str(self))

    def info(self) -> HostInfo:
        """The facts that this host tells the fleet of itself."""
        off = self._hours.off or {"since": "", "until": ""}
        return HostInfo(
            state=self._state(),
            slots=len(self._scheduler.slots),
            gpus=len(self._scheduler.gpus.used),
            labels=self._scheduler.membership.labels,
            off_since=off["since"],
            off_until=off["until"],
            resting=resting(self._scheduler.searches.values()),
            version=__version__,
            optuna_version=optuna.__version__,
        )

    def __str__(self) -> str:
        slots = self._scheduler.slots
        busy = sum(running is not None for running in slots)
        text = f"{self._state()}: {busy} of {counted(len(slots), 'slot')} busy"
        text += f", {counted(len(self._scheduler.searches), 'experiment')}"
        if off := self._hours.off:
            text += f"; does not work until {off['until']}"
        if self._link.message is not None:
            waiting = counted(len(self._teller), "result")
            text += f"; database away ({self._link.message}), {waiting} waiting"
        return text
