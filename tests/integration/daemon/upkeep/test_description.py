"""The line that systemctl status shows."""

from __future__ import annotations

from pathlib import Path

from tests.factories import linked
from tests.integration.daemon.wiring import wired
from tuned.config.hours import Hours
from tuned.daemon.upkeep.description import Description
from tuned.daemon.upkeep.hours import WorkingHours
from tuned.domain.states import HostState
from tuned.systemd.notify import Notifier


async def test_the_line_says_what_the_host_does_and_why_it_does_not(sqlite_url: str, tmp_path: Path) -> None:
    async with linked(sqlite_url) as link:
        with wired(link, tmp_path) as rooms:
            hours = WorkingHours(link, rooms.scheduler, lambda: None, clock=lambda: 1e9)
            line = Description(
                Notifier(), {}, state=lambda: HostState.RUNNING, link=link, scheduler=rooms.scheduler,
                teller=rooms.teller, hours=hours,
            )  # fmt: skip
            assert str(line) == "running: 0 of 1 slot busy, 0 experiments"
            hours.limit(Hours.parse(["Mon 00:00-00:01"]), "finish")
            assert hours.off is not None
            assert str(line).endswith(f"0 experiments; does not work until {hours.off['until']}")
