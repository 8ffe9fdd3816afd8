"""When a daemon may be executed anew."""

from __future__ import annotations

import pytest

from tuned.daemon.upkeep.restart import Restart
from tuned.domain.states import HostState
from tuned.errors import Conflict


async def nothing() -> None:
    pass


def ignored() -> None:
    pass


def test_systemds_daemon_is_not_executed_anew() -> None:
    with pytest.raises(Conflict, match="cannot restart a daemon that systemd runs"):
        Restart({"STATE_DIRECTORY": "/var/lib/tuned"}, lambda: HostState.RUNNING, ignored).request()


def test_a_daemon_that_is_about_to_end_is_not() -> None:
    with pytest.raises(Conflict, match="this host is draining"):
        Restart({}, lambda: HostState.DRAINING, ignored).request()


async def test_a_stop_that_comes_meanwhile_counts() -> None:
    states = [HostState.RUNNING] * 3
    restart = Restart({}, lambda: states.pop() if len(states) > 1 else HostState.ABORTING, ignored)
    restart.request()
    await restart.carry_out(nothing)
    assert not restart.is_wanted
