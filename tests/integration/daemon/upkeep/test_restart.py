"""When a daemon may be executed anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuned.daemon.upkeep.restart import RESTART_STATUS, RESTARTING, Restart
from tuned.domain.states import HostState
from tuned.errors import Conflict


async def nothing() -> None:
    pass


def ignored() -> None:
    pass


def test_the_unit_names_the_status_of_a_restart() -> None:
    unit = Path("systemd/tuned.service").read_text()
    assert f"RestartForceExitStatus={RESTART_STATUS}\nSuccessExitStatus={RESTART_STATUS}\n" in unit
    assert f"/{RESTARTING}" in unit


async def test_a_service_leaves_its_trials_and_ends_with_that_status(tmp_path: Path) -> None:
    done: list[object] = []
    restart = Restart({"STATE_DIRECTORY": str(tmp_path)}, lambda: HostState.RUNNING, ignored)
    restart.request()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "_exit", done.append)
        patch.setattr(os, "execv", lambda *_: done.append("executed"))
        await restart.carry_out(nothing, lambda: done.append("left"))
    assert done[:2] == ["left", RESTART_STATUS]
    assert (tmp_path / RESTARTING).exists()


def test_a_daemon_that_is_about_to_end_is_not() -> None:
    with pytest.raises(Conflict, match="this host is draining"):
        Restart({}, lambda: HostState.DRAINING, ignored).request()


async def test_a_stop_that_comes_meanwhile_counts() -> None:
    states = [HostState.RUNNING] * 3
    restart = Restart({}, lambda: states.pop() if len(states) > 1 else HostState.ABORTING, ignored)
    restart.request()
    await restart.carry_out(nothing, ignored)
    assert not restart.is_wanted
