"""Faults of the fleet, found in the database and mended there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState
from sqlalchemy import delete, update

from tests.factories import Member, join, kill, make_experiment, opened, plain_optuna
from tests.postgres import PostgresServer
from tuned.config.settings import Settings
from tuned.daemon import doctor
from tuned.domain.news.notices import NO_WISHES
from tuned.errors import DatabaseAway
from tuned.events import Events
from tuned.protocol.fleet import FindingView
from tuned.storage import hosts
from tuned.storage.database import Database
from tuned.storage.link import Link
from tuned.storage.tables.schema import t_host, t_point
from tuned.storage.trials import notices
from tuned.storage.trials.settling import settle_unheld, unheld_trials


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        storage="", spool=tmp_path / "spool", state_dir=tmp_path / "state", socket=tmp_path / "sock",
        slots=1, host="h1",
    )  # fmt: skip


@asynccontextmanager
async def linked(url: str, *, is_prepared: bool = True) -> AsyncIterator[Link]:
    link = Link(Database(url), Events("h1"), last_retry_seconds=1.0)
    if is_prepared:
        await link.prepare()
    yield link
    link.close()


def leave_unheld(member: Member) -> None:
    """Two trials that nobody holds, as after a hand in the database: 0 and 2; 1 is held, 3 is Optuna's."""
    for x in range(3):
        member.take(x)
    with member.database.transaction() as connection:
        keys = [member.point(x).key for x in (0, 2)]
        connection.execute(delete(t_point).where(t_point.c.key.in_(keys)))
    with plain_optuna(member.database) as study:
        study.ask()


def test_of_the_trials_that_nobody_holds_only_those_of_tuned_are_found(database: Database) -> None:
    member = join(database, make_experiment())
    assert unheld_trials(database) == {}
    leave_unheld(member)
    assert unheld_trials(database) == {"exp": [0, 2]}


def test_settled_unheld_trials_are_lost_and_refunded(database: Database) -> None:
    member = join(database, make_experiment())
    leave_unheld(member)
    assert settle_unheld(database, "exp") == [0, 2]
    assert settle_unheld(database, "exp") == []
    states = [trial.state for trial in member.trials()]
    running = TrialState.RUNNING
    assert states == [TrialState.FAIL, running, TrialState.FAIL, running]
    assert member.trial(0).user_attrs["FAILURE"]["cause"] == "lost"
    assert member.now().trials == 1


async def test_what_dead_hosts_left_and_what_nobody_holds_is_found_and_mended(
    database: Database, settings: Settings
) -> None:
    member = join(database, make_experiment())
    leave_unheld(member)
    kill(database, member.claimant)
    async with linked(database.url) as link:
        found = [finding["code"] for finding in await doctor.examine(settings, link, is_member=True)]
        assert found == ["unsettled-trials", "unheld-trials"]
        orphan, *others = await doctor.fix(settings, link, is_member=True)
        assert (orphan, len(others)) == ("trial 1 of exp: ended as lost, its point is free", 2)
        assert await doctor.examine(settings, link, is_member=True) == []
    assert (member.now().trials, member.now().free) == (0, 1)


async def test_hosts_of_different_versions_are_named_but_not_those_that_have_stopped(
    database: Database, settings: Settings
) -> None:
    for name, version in (("a", "5.0.0"), ("b", "5.0.1"), ("c", "4.0.0")):
        known = hosts.register(database, name, name, hosts.HostInfo(version="0.1.0", optuna_version=version))
        if name == "c":
            assert known is not None
            hosts.leave(database, known.incarnation, hosts.HostInfo(version="0.1.0", optuna_version=version))
    async with linked(database.url) as link:
        [finding] = await doctor.examine(settings, link, is_member=True)
    assert finding["code"] == "mixed-versions"
    assert finding["what"].endswith("versions of Optuna: 5.0.0 on a; 5.0.1 on b")


async def test_a_host_whose_row_cannot_be_read_is_named(database: Database, settings: Settings) -> None:
    hosts.register(database, "odd", "one", hosts.HostInfo())
    with database.transaction() as connection:
        connection.execute(update(t_host).values(info="{oops"))
    async with linked(database.url) as link:
        [finding] = await doctor.examine(settings, link, is_member=True)
    assert (finding["code"], "odd" in finding["what"]) == ("unreadable-host", True)


async def test_an_outage_comes_with_its_own_advice(
    sqlite_url: str, settings: Settings, tmp_path: Path
) -> None:
    async with linked(sqlite_url) as link:
        (tmp_path / "tuned.db").unlink()
        [finding] = await doctor.examine(settings, link, is_member=True)
    assert (finding["code"], "put it back" in finding["remedy"]) == ("database-away", True)


async def test_a_database_that_is_away_is_told_beside_what_this_host_knows(
    postgres: PostgresServer, settings: Settings
) -> None:
    settings = replace(settings, warnings=("heartbeat.expire is 1s",))
    async with linked(postgres.url()) as link:
        postgres.stop()
        found = [finding["code"] for finding in await doctor.examine(settings, link, is_member=True)]
        assert found == ["database-away", "setting"]
        assert await doctor.fix(settings, link, is_member=True) == []


async def test_before_a_host_has_joined_the_database_is_not_looked_at(
    sqlite_url: str, settings: Settings
) -> None:
    async with linked(sqlite_url) as link:
        [finding] = await doctor.examine(settings, link, is_member=False)
        assert await doctor.fix(settings, link, is_member=False) == []
    assert finding["code"] == "not-joined"


async def test_a_password_that_is_missing_is_not_waited_for_but_asked_for(
    postgres: PostgresServer, settings: Settings
) -> None:
    postgres.require_password()
    async with linked(postgres.url(), is_prepared=False) as link:
        with pytest.raises(DatabaseAway, match="no password supplied"):
            await link.prepare()
        [finding] = await doctor.examine(settings, link, is_member=False)
    assert finding["code"] == "database-away"
    assert "systemctl restart tuned" in finding["remedy"]
    assert "by itself" not in finding["remedy"]


async def test_news_that_could_not_be_sent_is_noted_until_it_is(
    database_url: str, settings: Settings
) -> None:
    with opened(database_url) as database:
        notify = '[notify]\non = ["better"]\nurl = "https://example.org/hook"\n'
        join(database, make_experiment(notify)).evaluate(0, 0.5)
        notice = notices.claim(database, NO_WISHES)
        assert notice is not None
        notices.settle_failed(database, notice, "https://example.org/… answered 500", 60.0)
    async with linked(database_url) as link:
        [found] = [each for each in await doctor.examine(settings, link, is_member=True) if is_news(each)]
    assert found["what"] == "a notification of exp could not be sent: https://example.org/… answered 500"


def is_news(finding: FindingView) -> bool:
    return finding["code"] == "notification-undelivered"
