"""The short life of ``tuned --settle``: it ends this host's trials and leaves the fleet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.factories import join, make_claimant, make_experiment, opened
from tuned.config.settings import Settings
from tuned.daemon.settle import settle
from tuned.disk.outbox import Outbox, encode
from tuned.disk.state import StateDirectory
from tuned.domain.states import HostState
from tuned.storage import hosts


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    with StateDirectory.open(tmp_path / "state") as state:
        yield state


def settings(storage: str, home: Path) -> Settings:
    return Settings(
        storage=storage, spool=home / "spool", state_dir=home / "state", socket=home / "sock", host="h1",
        slots=1,
    )  # fmt: skip


async def test_results_are_told_and_trials_without_one_are_ended(
    database_url: str, state: StateDirectory, tmp_path: Path
) -> None:
    with opened(database_url) as database:
        claimant = make_claimant(database, installation_id=state.installation_id)
        member = join(database, make_experiment(), claimant=claimant)
        finished, _running = member.take(1), member.take(2)
        outbox = Outbox(state.outbox)
        outbox.put(outbox.new_name(), encode(member.result(finished, 0.5)))
        await settle(settings(database_url, tmp_path), state)
        assert [trial.state for trial in member.trials()] == [TrialState.COMPLETE, TrialState.FAIL]
        [row] = hosts.hosts(database)
        assert (row.info.state, row.dead, member.now().free) == (HostState.STOPPED, True, 1)


async def test_without_the_database_results_stay_for_the_next_start(
    sqlite_url: str, state: StateDirectory, tmp_path: Path
) -> None:
    with opened(sqlite_url) as database:
        member = join(database, make_experiment())
        outbox = Outbox(state.outbox)
        outbox.put(outbox.new_name(), encode(member.result(member.take(1), 0.5)))
    await settle(settings("postgresql+psycopg2://nobody@127.0.0.1:1/away", tmp_path), state)
    assert len(outbox.pending()) == 1
