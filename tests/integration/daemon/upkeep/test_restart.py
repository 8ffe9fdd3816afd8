"""When a daemon may be executed anew."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tuned.daemon.upkeep.restart import RESTART_STATUS, RESTARTING, Restart
from tuned.domain.states import HostState
from tuned.errors import Conflict


async def nothing() -> None:
    pass


def ignored() -> None:
    pass


def running() -> HostState:
    return HostState.RUNNING


NO_SERVICE: Mapping[str, str] = {}


def test_the_unit_names_the_status_of_a_restart() -> None:
    unit = Path("systemd/tuned.service").read_text()
    assert f"RestartForceExitStatus={RESTART_STATUS}\nSuccessExitStatus={RESTART_STATUS}\n" in unit
    assert f"/{RESTARTING}" in unit


def made(
    *command: str, environ: Mapping[str, str] = NO_SERVICE, state: Callable[[], HostState] = running
) -> Restart:
    """The options of a daemon are arguments that these commands do not look at."""
    return Restart(environ, state, ignored, command or ("true",))


async def test_a_service_leaves_its_trials_and_ends_with_that_status(tmp_path: Path) -> None:
    done: list[object] = []
    restart = made(environ={"STATE_DIRECTORY": str(tmp_path)})
    assert await restart.request() is HostState.RUNNING
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "_exit", done.append)
        patch.setattr(os, "execv", lambda *_: done.append("executed"))
        await restart.carry_out(nothing, lambda: done.append("left"))
    assert done[:2] == ["left", RESTART_STATUS]
    assert (tmp_path / RESTARTING).exists()


async def test_a_daemon_that_is_about_to_end_is_not() -> None:
    with pytest.raises(Conflict, match="this host is draining"):
        await made(state=lambda: HostState.DRAINING).request()


async def test_a_stop_that_comes_meanwhile_counts() -> None:
    states = [HostState.ABORTING, *[HostState.RUNNING] * 4]
    restart = made(state=lambda: states.pop() if len(states) > 1 else states[0])
    await restart.request()
    await restart.carry_out(nothing, ignored)
    assert not restart.is_wanted


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'tuned: a: b: found c, expected d\nand e' >&2; exit 1", "a: b: found c, expected d\nand e"),
        ("echo 'Traceback\nImportError: none' >&2; exit 1", "ImportError: none"),
        ("exit 3", "its code ends with status 3"),
        ("exec sleep 1000", "its settings were not read within 0.5 s"),
    ],
    ids=["settings", "a traceback", "no word", "no end"],
)
async def test_a_successor_that_could_not_begin_is_not_made_way_for(
    script: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuned.daemon.upkeep.restart.CHECK_SECONDS", 0.5 if "sleep" in script else 60.0)
    restart = made("sh", "-c", script)
    with pytest.raises(Conflict, match=f"^{re.escape(f'cannot restart: {reason}')}$"):
        await restart.request()
    assert not restart.is_wanted


async def test_without_its_python_it_goes_on() -> None:
    with pytest.raises(Conflict, match="/no/python: No such file or directory"):
        await made("/no/python").request()
