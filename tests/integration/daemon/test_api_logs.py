"""The daemon's answer to the question for a trial's output, on a slow disk."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from tests.waiting import PATIENCE_SECONDS
from tuned.config.settings import Settings
from tuned.daemon.api import Api
from tuned.disk.layout import Layout
from tuned.disk.state import StateDirectory
from tuned.errors import NotFound
from tuned.trial.evaluation import Site


def api(state: StateDirectory) -> Api:
    """One that is only asked for files on disk."""
    none = cast("Any", None)
    others = dict.fromkeys(
        ("events", "link", "teller", "scheduler", "local_experiments", "fleet", "state",
         "retention", "hours", "request_drain", "request_abort", "request_restart"), none
    )  # fmt: skip
    settings = Settings(
        storage="sqlite://", spool=state.path, state_dir=state.path, socket=state.path, slots=1, host="h"
    )
    return Api(settings=settings, site=Site(host="h", state=state, cgroups=None, grace_seconds=0), **others)


async def test_the_loop_goes_on_while_the_newest_trial_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    look = Layout.newest_trial

    def slow_look(layout: Layout, uid: str) -> int | None:
        assert goes_on.wait(PATIENCE_SECONDS), "the event loop stood still"
        return look(layout, uid)

    monkeypatch.setattr(Layout, "newest_trial", slow_look)
    with StateDirectory.open(tmp_path / "state") as state:
        (state.trials / "uid" / "3").mkdir(parents=True)
        asyncio.get_running_loop().call_later(0.01, goes_on.set)
        assert await api(state)._newest("exp", "uid") == 3


async def test_a_study_of_which_nothing_ran_here_has_no_output(tmp_path: Path) -> None:
    with (
        StateDirectory.open(tmp_path / "state") as state,
        pytest.raises(NotFound, match="no trial of it has run on this host"),
    ):
        await api(state)._newest("exp", "uid")
