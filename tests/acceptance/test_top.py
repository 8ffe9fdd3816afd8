"""``tunectl top`` on a real daemon: it sees a trial, its output and changes, and lives through a restart."""

from __future__ import annotations

import asyncio

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import an_experiment
from tests.integration.tunectl.top.made import opened


async def test_a_person_watches_a_trial_over_a_restart_of_the_daemon(
    make: MakeDaemon, database_url: str
) -> None:
    daemon = make(storage=database_url, slots=1)
    # Not in a thread: the daemon's parent would end with it.
    daemon.start().until_joined()
    go = daemon.home / "go"
    script = f"printf '[red]epoch\\033[2J 1\\n'; while [ ! -e {go} ]; do sleep 0.05; done"
    daemon.drop("exp", an_experiment(script, high=0, more="[budget]\nevaluations = 1\n"))
    async with opened(daemon.socket) as screen:
        await screen.until("[red]epoch\\x1b[2J 1")
        await screen.press("enter")
        await screen.until("RUNNING")
        await screen.press("enter")
        await screen.until("  [red]epoch\\x1b[2J 1")
        await asyncio.to_thread(daemon.crash)
        await screen.until("cannot reach the daemon")
        daemon.start()
        await screen.until("by 1 later daemon")
        await screen.press("escape", "p", "y")
        await screen.until("exp is paused")
        await screen.press("r", "y")
        await screen.until("exp is open")
        go.touch()
        await screen.until("● done")
        await screen.until("BEST SO FAR, by trial, 0 to 0")
        await screen.press("d", "y")
        await screen.until("this host is draining")
    assert await asyncio.to_thread(daemon.wait) == 0
