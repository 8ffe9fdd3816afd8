"""From a taken file to a search: in order, one at a time, and for the host's incarnation of now."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuned.daemon.admission
import tuned.search.fault
from tests.acceptance.daemon import an_experiment
from tests.factories import join, linked, make_claimant
from tests.integration.daemon.wiring import Rooms, wired
from tests.postgres import PostgresServer
from tuned.daemon.admission import Admission
from tuned.daemon.code.dropped import CodeOfFiles
from tuned.domain.claim import Claimed
from tuned.domain.study_status import StudyStatus
from tuned.experiment.experiment import parse
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
        code = CodeOfFiles(link, rooms.spool.path)
        yield Admission(link, rooms.spool, rooms.events, rooms.scheduler, code=code, on_open=nothing), rooms


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


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause is over before a test says so."""
    monkeypatch.setattr(tuned.search.fault, "FIRST_PAUSE_SECONDS", 1000)


def make_due(admission: Admission) -> None:
    for unopened in admission.resting:
        assert unopened.fault is not None
        unopened.fault = replace(unopened.fault, due=0)


def reasons(admission: Admission) -> list[str]:
    return [unopened.fault.reason for unopened in admission.resting if unopened.fault is not None]


@pytest.mark.parametrize("theirs", [{"high": 4}, {"more": '[sampler]\nname = "random"'}])
async def test_a_file_that_differs_from_its_study_rests_until_it_says_the_same(
    sqlite_url: str, tmp_path: Path, theirs: dict[str, Any]
) -> None:
    async with linked(sqlite_url) as link:
        study = parse(an_experiment(**theirs).encode(), "exp.toml")
        member = await asyncio.to_thread(join, link.database, study)
        with admitting(link, tmp_path) as (admission, rooms):
            # As after a restart: nobody submits it now.
            for taken in rooms.spool.take():
                admission.add(taken)
            await admission.hold(member.claimant)
            assert rooms.scheduler.searches == {}
            [reason] = reasons(admission)
            assert "its file on this host differs from the study" in reason
            assert "in the database" in reason
            (rooms.spool.path / "active" / "exp.toml").write_text(an_experiment(**theirs))
            make_due(admission)
            await admission.open()
            assert (admission.resting, list(rooms.scheduler.searches)) == ([], ["exp"])


async def test_the_order_of_choices_is_part_of_what_a_file_says(sqlite_url: str, tmp_path: Path) -> None:
    kind = '[objective]\ncommand = ["true"]\n[space.kind]\ntype = "categorical"\nchoices = {}\n'
    async with linked(sqlite_url) as link:
        study = parse(kind.format('["a", "b"]').encode(), "swapped.toml")
        member = await asyncio.to_thread(join, link.database, study)
        with admitting(link, tmp_path) as (admission, rooms):
            rooms.drop("swapped", kind.format('["b", "a"]'))
            for taken in rooms.spool.take():
                admission.add(taken)
            await admission.hold(member.claimant)
            [reason] = reasons(admission)
            assert 'space.kind.choices: ["b", "a"] here, ["a", "b"] in the database' in reason


async def test_the_claims_of_a_file_with_another_budget_are_those_of_the_study(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with linked(sqlite_url) as link:
        study = parse(an_experiment(more="[budget]\ntrials = 7").encode(), "exp.toml")
        member = await asyncio.to_thread(join, link.database, study)
        with admitting(link, tmp_path) as (admission, rooms):
            for taken in rooms.spool.take():
                admission.add(taken)
            await admission.hold(member.claimant)
            assert rooms.scheduler.searches["exp"].experiment.budget.trials == 7


@pytest.mark.usefixtures("_patient")
async def test_a_file_whose_opening_fails_rests_and_the_others_are_opened(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with linked(sqlite_url) as link:
        with link.database.transaction() as connection:
            refuse = "CREATE TRIGGER no BEFORE INSERT ON studies WHEN NEW.study_name = 'bad'"
            connection.exec_driver_sql(f"{refuse} BEGIN SELECT RAISE(ABORT, 'no bad ones'); END")
        with admitting(link, tmp_path) as (admission, rooms):
            rooms.drop("bad", an_experiment())
            take(admission, rooms)
            await admission.hold(make_claimant(link.database))
            assert list(rooms.scheduler.searches) == ["exp"]
            assert (reasons(admission), admission.waiting) == (["IntegrityError: no bad ones"], [])
            with link.database.transaction() as connection:
                connection.exec_driver_sql("DROP TRIGGER no")
            await admission.open()
            assert list(rooms.scheduler.searches) == ["exp"]
            make_due(admission)
            await admission.open()
            assert (list(rooms.scheduler.searches), admission.resting) == (["exp", "bad"], [])


@pytest.mark.usefixtures("_patient")
async def test_a_search_that_cannot_go_on_as_a_new_incarnation_is_opened_anew(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise TypeError("no sampler today")

    async with linked(sqlite_url) as link:
        with admitting(link, tmp_path) as (admission, rooms):
            take(admission, rooms)
            await admission.hold(make_claimant(link.database))
            first = rooms.scheduler.searches["exp"]
            with monkeypatch.context() as patch:
                patch.setattr(Search, "hold", fail)
                await admission.hold(later := make_claimant(link.database))
            assert (rooms.scheduler.searches, reasons(admission)) == ({}, ["TypeError: no sampler today"])
            make_due(admission)
            await admission.open()
            assert rooms.scheduler.searches["exp"] is not first
            outcome = await rooms.scheduler.searches["exp"].claim_next(0)
            assert isinstance(outcome, Claimed)
            assert outcome.incarnation == later.incarnation
