"""The answers of a daemon that does not run yet, on a database in which another host works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories import Member, join, make_experiment, opened
from tuned.config.settings import Settings
from tuned.daemon.api import Api
from tuned.daemon.daemon import Daemon
from tuned.disk.spool import Spool
from tuned.disk.state import StateDirectory
from tuned.errors import NotFound
from tuned.storage.trials.tells import tell


@contextmanager
def a_daemon(storage: str, home: Path) -> Iterator[Daemon]:
    settings = Settings(
        storage=storage, spool=home / "spool", state_dir=home / "state", socket=home / "sock",
        slots=2, host="h1",
    )  # fmt: skip
    (home / "spool").mkdir(mode=0o700)
    with StateDirectory.open(settings.state_dir) as state, Spool(settings.spool) as spool:
        yield Daemon(settings, state, spool, lambda: settings, {})


@pytest.fixture
def member(sqlite_url: str) -> Iterator[Member]:
    with opened(sqlite_url) as database:
        yield join(database, make_experiment(), "h2")


@pytest.fixture
async def api(member: Member, sqlite_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    assert member.experiment.name == "exp"
    with a_daemon(sqlite_url, tmp_path) as daemon:
        await daemon._link.prepare()
        yield daemon._api
        daemon._link.close()


async def test_a_status_is_answered_without_a_database_and_without_its_password(tmp_path: Path) -> None:
    with a_daemon("postgresql+psycopg2://tuned:sesame@127.0.0.1:1/tuned", tmp_path) as daemon:
        status = await daemon._api.status()
        assert (status["host"], status["state"], len(status["slots"])) == ("h1", "starting", 2)
        assert "sesame" not in str(status)
        daemon._link.close()


async def test_an_experiment_of_other_hosts_alone_has_no_file_and_no_environment_here(api: Api) -> None:
    view = await api.experiment("exp")
    assert (view["summary"]["name"], view["file"], view["resources"]) == ("exp", None, None)
    assert "env" not in view


async def test_output_that_lies_on_another_host_names_that_host(api: Api, member: Member) -> None:
    number = member.take(3).number
    with pytest.raises(NotFound, match="it ran on host h2"):
        await api.logs("exp", number, follow=False, is_setup=False)
    with pytest.raises(NotFound, match="no trial of it has run on this host"):
        await api.logs("exp", None, follow=False, is_setup=False)


async def test_the_output_of_a_failure_on_another_host_comes_from_the_database(
    api: Api, member: Member
) -> None:
    failed = replace(member.result(member.take(3)), output=b"step 1\n\xff\n")
    tell(member.database, failed)
    note = b"[tuned: the end of its output on host h2, from the database]\n"
    for tail, expected in ((None, b"step 1\n\xff\n"), (2, b"\xff\n")):
        pieces = await api.logs("exp", failed.number, follow=True, tail=tail)
        assert b"".join([piece async for piece in pieces]) == note + expected


async def test_a_change_is_made_in_the_whole_fleet_and_answered_with_the_new_state(api: Api) -> None:
    assert (await api.pause("exp"))["state"] == "paused"
    assert (await api.resume("exp"))["state"] == "open"
    assert (await api.cancel("exp", "alice"))["state"] == "cancelled"
    assert [each["state"] for each in await api.experiments()] == ["cancelled"]


async def test_a_name_that_nobody_knows_is_not_found(api: Api) -> None:
    for answer in (
        api.experiment("other"),
        api.best("other"),
        api.cancel("other", "alice"),
        api.story("other", 0),
    ):
        with pytest.raises(NotFound):
            await answer
