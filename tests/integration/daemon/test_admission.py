"""From a taken file to a search: in order, one at a time, and for the host's incarnation of now."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tuned.daemon.admission
from tests.acceptance.daemon import an_experiment
from tests.factories import linked, make_claimant
from tests.integration.daemon.wiring import Rooms, wired
from tests.postgres import PostgresServer
from tuned.daemon.admission import Admission
from tuned.domain.claim import Claimed
from tuned.domain.study_status import StudyStatus
from tuned.search.search import Search
from tuned.storage.link import Link
from tuned.storage.studies import open_study


async def nothing(_search: Search) -> None:
    pass


@contextmanager
def admitting(link: Link, home: Path) -> Iterator[tuple[Admission, Rooms]]:
    """With one file in the spool."""
    with wired(link, home) as rooms:
        rooms.drop("exp", an_experiment())
        yield Admission(link, rooms.spool, rooms.events, rooms.scheduler, nothing), rooms


def take(admission: Admission, rooms: Rooms) -> None:
    for taken in rooms.spool.take():
        admission.add_new(taken)


async def test_a_file_waits_until_the_host_has_a_claimant(sqlite_url: str, tmp_path: Path) -> None:
    async with linked(sqlite_url) as link:
        with admitting(link, tmp_path) as (admission, rooms):
            take(admission, rooms)
            await admission.open()
            assert (admission.waiting, rooms.scheduler.searches) == (["exp"], {})
            await admission.hold(make_claimant(link.database))
            assert (admission.waiting, list(rooms.scheduler.searches)) == ([], ["exp"])


async def test_a_file_waits_while_the_database_is_away(postgres: PostgresServer, tmp_path: Path) -> None:
    async with linked(postgres.url()) as link:
        with admitting(link, tmp_path) as (admission, rooms):
            await admission.hold(make_claimant(link.database))
            take(admission, rooms)
            postgres.stop()
            await admission.open()
            assert (admission.waiting, rooms.files("active")) == (["exp"], ["exp.toml"])


async def test_a_second_file_for_a_study_is_rejected_with_the_name_of_the_first(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with linked(sqlite_url) as link:
        with admitting(link, tmp_path) as (admission, rooms):
            await admission.hold(make_claimant(link.database))
            rooms.drop("twin", f'name = "exp"\n{an_experiment()}')
            take(admission, rooms)
            await admission.open()
            assert list(rooms.scheduler.searches) == ["exp"]
            [reason] = (rooms.spool.path / "rejected").glob("*.error")
            assert "study exp is already run by exp.toml" in reason.read_text()


async def test_a_file_that_has_gone_is_not_opened(sqlite_url: str, tmp_path: Path) -> None:
    async with linked(sqlite_url) as link:
        with admitting(link, tmp_path) as (admission, rooms):
            take(admission, rooms)
            (rooms.spool.path / "active" / "exp.toml").unlink()
            await admission.hold(make_claimant(link.database))
            assert (admission.waiting, rooms.scheduler.searches) == ([], {})


async def test_an_experiment_that_opens_while_the_host_joins_anew_claims_for_the_new_incarnation(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_opening, may_open = threading.Event(), threading.Event()

    def open_late(*arguments: Any, **options: Any) -> StudyStatus:
        status = open_study(*arguments, **options)
        is_opening.set()
        assert may_open.wait(60)
        return status

    monkeypatch.setattr(tuned.daemon.admission, "open_study", open_late)
    async with linked(database_url) as link:
        with admitting(link, tmp_path) as (admission, rooms):
            await admission.hold(make_claimant(link.database))
            take(admission, rooms)
            opening = asyncio.create_task(admission.open())
            assert await asyncio.to_thread(is_opening.wait, 60)
            later = make_claimant(link.database)
            joining = asyncio.create_task(admission.hold(later))
            # It runs until it waits for the experiment to open.
            await asyncio.sleep(0)
            may_open.set()
            await asyncio.gather(opening, joining)
            [search] = rooms.scheduler.searches.values()
            outcome = await search.claim_next(0)
            assert isinstance(outcome, Claimed)
            assert outcome.incarnation == later.incarnation
