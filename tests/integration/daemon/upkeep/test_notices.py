"""A host tells what is due: by address or command, again after a failure, and never twice for one claim."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from tests.factories import Member, join, linked, make_experiment
from tests.receiver import receiving
from tests.waiting import until_async
from tuned.daemon.upkeep.notices import Notices
from tuned.disk.state import StateDirectory
from tuned.domain.news.notices import Wishes
from tuned.errors import DatabaseAway
from tuned.keeper.runs import Runs
from tuned.storage.database import Database
from tuned.storage.link import Link
from tuned.storage.tables.schema import t_notice
from tuned.trial.evaluation import Site

pytestmark = pytest.mark.usefixtures("_subreaper")


@asynccontextmanager
async def telling(url: str, home: Path) -> AsyncIterator[tuple[Link, Notices]]:
    async with linked(url) as link:
        with StateDirectory.open(home / "state") as state:
            site = Site(host="h1", state=state, cgroups=None, grace_seconds=0.0)
            keeper = Runs(1)
            yield link, Notices(link, site, keeper)
            await keeper.close()


def better(database: Database, way: str) -> Member:
    """A study with news of a better value."""
    member = join(database, make_experiment(f'[notify]\non = ["better"]\n{way}\n'))
    member.evaluate(0, 0.5)
    return member


def due(database: Database) -> list[float | None]:
    with database.reading() as connection:
        return list(connection.execute(select(t_notice.c.due)).scalars())


async def test_news_is_sent_and_settled(sqlite_url: str, tmp_path: Path) -> None:
    async with telling(sqlite_url, tmp_path) as (link, notices):
        with receiving() as receiver:
            better(link.database, f'url = "{receiver.url}"')
            await notices.tell_all()
            await notices.tell_all()
            assert receiver.texts == ["exp: a better value, 0.5 in trial 0 on h1"]
            assert due(link.database) == [None]


async def test_a_failure_is_tried_again_and_logged_without_the_secret(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with telling(sqlite_url, tmp_path) as (link, notices):
        with receiving((500, {}), (200, {})) as receiver, capture_logs() as logs:
            better(link.database, f'url = "{receiver.url}"')
            await notices.tell_all()
            with link.database.transaction() as connection:
                connection.execute(update(t_notice).values(due=0.0))
            await notices.tell_all()
            assert [each["try"] for each in receiver.got] == [1, 2]
            assert receiver.got[0]["id"] == receiver.got[1]["id"]
        assert [each["event"] for each in logs] == ["notification not sent", "notification sent"]
        assert "secret" not in str(logs)


async def test_a_value_that_is_not_the_best_is_settled_and_not_sent(sqlite_url: str, tmp_path: Path) -> None:
    async with telling(sqlite_url, tmp_path) as (link, notices):
        with receiving() as receiver:
            member = better(link.database, f'url = "{receiver.url}"')
            with link.database.transaction() as connection:
                connection.execute(update(t_notice).values(trial=1))
            member.evaluate(1, 0.75)
            await notices.tell_all()
            assert (receiver.got, due(link.database)) == ([], [None])


@pytest.mark.parametrize(
    ("script", "logged"),
    [
        ("cat > $0/said", "notification sent"),
        ("echo no token; exit 3", "notification not sent"),
        ("no-such-program", "notification not sent"),
    ],
)
async def test_a_command_reads_json_and_says_by_its_status_whether_it_delivered(
    sqlite_url: str, tmp_path: Path, script: str, logged: str
) -> None:
    async with telling(sqlite_url, tmp_path) as (link, notices):
        with capture_logs() as logs:
            better(link.database, f"command = {json.dumps(['sh', '-c', script, str(tmp_path)])}")
            await notices.tell_all()
        assert logs[-1]["event"] == logged
        if logged == "notification sent":
            assert json.loads((tmp_path / "said").read_text())["event"] == "better"
        else:
            assert logs[0]["event"] == "notify.command failed"
            assert "exit" in logs[-1]["problem"]


async def test_a_command_has_no_variables_of_the_daemon(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hush")
    async with telling(sqlite_url, tmp_path) as (link, notices):
        better(link.database, f"command = {json.dumps(['sh', '-c', 'env > $0/said', str(tmp_path)])}")
        await notices.tell_all()
        said = (tmp_path / "said").read_text()
        assert "TUNED_EXPERIMENT=exp" in said
        assert "hush" not in said
        assert "TUNED_NOTIFICATION" not in said


async def test_the_loop_tells_when_somebody_noticed_and_goes_on_after_an_outage(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with telling(sqlite_url, tmp_path) as (link, notices):
        with receiving() as receiver:
            better(link.database, f'url = "{receiver.url}"')
            loop = asyncio.create_task(notices.run())
            away = asyncio.Event()

            async def share(*_: object) -> None:
                away.set()
                raise DatabaseAway("gone")

            with monkeypatch.context() as outage:
                outage.setattr(link, "share", share)
                notices.wake()
                await asyncio.wait_for(away.wait(), 20)
            notices.wake()
            await until_async(lambda: receiver.got, what="the notification")
            loop.cancel()


async def test_a_host_that_leaves_tells_by_its_settings_within_a_bound(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with telling(sqlite_url, tmp_path) as (link, notices):
        with receiving(hangs=True) as receiver:
            notices.wish(Wishes(on=frozenset({"better"}), url=receiver.url))
            join(link.database, make_experiment()).evaluate(0, 0.5)
            monkeypatch.setattr("tuned.daemon.upkeep.notices.LAST_SECONDS", 0.5)
            await notices.leave()
            assert receiver.texts == ["exp: a better value, 0.5 in trial 0 on h1"]
            assert None not in due(link.database)
