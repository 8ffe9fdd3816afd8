"""A host takes over what was dropped on another one, and lets it be when a person says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuned.daemon.admission
from tests.factories import linked, make_claimant
from tests.integration.daemon.wiring import Rooms, wired
from tests.waiting import until_async
from tuned.daemon.experiments import Experiments
from tuned.domain.states import SearchState, StudyState
from tuned.domain.study_status import StudyStatus
from tuned.experiment.experiment import parse
from tuned.storage.changes import Author, replace_definition
from tuned.storage.database import Database
from tuned.storage.deletions import delete_study
from tuned.storage.encoding import Encoding
from tuned.storage.queries import experiments
from tuned.storage.shared_files import SharedFile
from tuned.storage.studies import open_study, set_state

FILE = '[objective]\ncommand = ["true"]\n[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n'


@asynccontextmanager
async def at_home(url: str, home: Path, dropped: str = FILE) -> AsyncIterator[tuple[Experiments, Rooms]]:
    """Host h1, which has nothing of its own, and a file that was dropped on host h2."""
    async with linked(url) as link:
        with wired(link, home) as rooms:
            drop_elsewhere(link.database, dropped)
            local = Experiments(link, rooms.spool, rooms.scheduler, rooms.events, on_notices=lambda: None)
            await local.hold(make_claimant(link.database))
            yield local, rooms


def drop_elsewhere(database: Database, text: str, name: str = "exp") -> int:
    experiment = parse(text.encode(), f"{name}.toml")
    file = SharedFile(host="h2", name=name, content=text.encode())
    return open_study(database, experiment, Encoding(experiment.space), is_new=True, file=file).study_id


def notes(local: Experiments) -> dict[str, str]:
    return {name: search.note for name, search in local.searches.items()}


async def test_it_is_taken_over_once_with_its_local_keys(database_url: str, tmp_path: Path) -> None:
    async with at_home(database_url, tmp_path, f"parallel = 3\n{FILE}") as (local, rooms):
        for _ in range(2):
            await local._look_around()
        [search] = local.searches.values()
        assert (search.adoption.origin, search.experiment.parallel) == ("h2", 3)
        [taken] = rooms.spool.active()
        assert (taken.origin, taken.content.decode()) == ("h2", f"parallel = 3\n{FILE}")


@pytest.mark.parametrize("more", ['[fleet]\nhosts = ["h3"]\n', '[fleet]\nhosts = "here"\n'])
async def test_it_is_left_alone_if_it_is_not_for_this_host(
    sqlite_url: str, tmp_path: Path, more: str
) -> None:
    async with at_home(sqlite_url, tmp_path, FILE + more) as (local, rooms):
        await local._look_around()
        assert (local.searches, rooms.files("active")) == ({}, [])


async def test_a_host_that_accepts_nothing_takes_nothing_and_rests_with_what_it_took(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_home(sqlite_url, tmp_path) as (local, rooms):
        rooms.scheduler.membership = replace(rooms.scheduler.membership, accepts=False)
        await local._look_around()
        assert local.searches == {}
        rooms.scheduler.equip((), replace(rooms.scheduler.membership, accepts=True))
        await local._look_around()
        rooms.scheduler.equip((), replace(rooms.scheduler.membership, accepts=False))
        assert "this host takes only what is dropped on it" in notes(local)["exp"]


async def test_it_rests_with_the_reason_where_a_label_or_a_package_is_missing(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_home(sqlite_url, tmp_path, f'{FILE}[fleet]\nlabels = ["a100"]\n') as (local, rooms):
        drop_elsewhere(local._link.database, f'{FILE}[sampler]\nname = "gp"\n', name="other")
        await local._look_around()
        assert notes(local) == {"exp": "needs label a100, this host has none"}
        assert [each.experiment for each in local.admission.resting] == ["other"]
        rooms.scheduler.equip((), replace(rooms.scheduler.membership, labels=("a100",)))
        assert local.searches["exp"].state is SearchState.WORKING
        assert rooms.files("rejected") == []


async def test_a_person_who_removes_it_has_it_removed_for_good(sqlite_url: str, tmp_path: Path) -> None:
    async with at_home(sqlite_url, tmp_path) as (local, rooms):
        await local._look_around()
        (rooms.spool.path / "active" / "exp.toml").unlink()
        await local._notice_withdrawn()
        for experiments_ in (
            local,
            Experiments(local._link, rooms.spool, rooms.scheduler, rooms.events, on_notices=lambda: None),
        ):
            await experiments_._look_around()
            assert (experiments_.searches, rooms.files("active")) == ({}, [])
        # Dropped here, it is this host's own.
        rooms.drop("exp", FILE)
        await local.take()
        assert local.searches["exp"].adoption.origin == ""


async def test_a_file_of_this_host_takes_its_place_with_other_local_keys_alone(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_home(sqlite_url, tmp_path) as (local, rooms):
        await local._look_around()
        search = local.searches["exp"]
        rooms.drop("exp", FILE.replace("high = 9", "high = 8"))
        await local.take()
        assert (rooms.files("rejected"), search.adoption.origin) == (["exp.toml", "exp.toml.error"], "h2")
        rooms.drop("exp", f"parallel = 1\n{FILE}")
        await local.take()
        assert local.searches == {"exp": search}
        assert (search.adoption.origin, search.experiment.parallel) == ("", 1)
        assert [taken.origin for taken in rooms.spool.active()] == [""]


@pytest.mark.parametrize(
    ("dropped", "parallel"), [(f"parallel = 1\n{FILE}", 1), (FILE, None)], ids=["other keys", "the same"]
)
async def test_a_file_of_this_host_takes_its_place_also_while_that_is_opened(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropped: str, parallel: int | None
) -> None:
    is_opening, may_open = threading.Event(), threading.Event()

    def open_late(*arguments: Any, **options: Any) -> StudyStatus:
        is_opening.set()
        assert may_open.wait(60)
        return open_study(*arguments, **options)

    monkeypatch.setattr(tuned.daemon.admission, "open_study", open_late)
    async with at_home(sqlite_url, tmp_path) as (local, rooms):
        looking = asyncio.create_task(local._look_around())
        assert await asyncio.to_thread(is_opening.wait, 60)
        rooms.drop("exp", dropped)
        taking = asyncio.create_task(local.take())
        await until_async(lambda: [each.origin for each in rooms.spool.active()] == [""], what="its file")
        may_open.set()
        await asyncio.gather(looking, taking)
        [search] = local.searches.values()
        assert (search.adoption.origin, search.experiment.parallel) == ("", parallel)
        assert (rooms.files("active"), rooms.files("rejected")) == (["exp.toml"], [])


async def test_local_keys_follow_a_replacement_elsewhere_but_not_into_an_edited_file(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_home(sqlite_url, tmp_path) as (local, rooms):
        await local._look_around()
        search = local.searches["exp"]
        replace_elsewhere(local._link.database, f"parallel = 2\n{FILE}")
        await local._look_around()
        assert search.experiment.parallel == 2
        active = rooms.spool.path / "active" / "exp.toml"
        active.write_text(active.read_text() + "# mine\n")
        replace_elsewhere(local._link.database, f"parallel = 4\n{FILE}")
        await local._look_around()
        assert (search.experiment.parallel, search.adoption.origin) == (2, "")
        assert "# mine" in active.read_text()


def replace_elsewhere(database: Database, text: str) -> None:
    experiment = parse(text.encode(), "exp.toml")
    file = SharedFile(host="h2", name="exp", content=text.encode())
    study_id = experiments.find(database, "exp")
    replace_definition(database, study_id, experiment, Author(user="ann", host="h2"), file=file)


async def test_it_ends_comes_back_and_goes_with_its_study(sqlite_url: str, tmp_path: Path) -> None:
    async with at_home(sqlite_url, tmp_path) as (local, rooms):
        database = local._link.database
        await local._look_around()
        study_id = local.searches["exp"].status.study_id
        set_state(database, study_id, StudyState.CANCELLED)
        await local._look_around()
        assert (local.searches, rooms.files("cancelled")) == ({}, ["exp.toml"])
        drop_elsewhere(database, f"parallel = 2\n{FILE}")
        for _ in range(2):
            await local._look_around()
        search = local.searches["exp"]
        assert (search.experiment.parallel, search.adoption.origin) == (2, "h2")
        delete_study(database, study_id, "exp", is_forced=False)
        await local._look_around()
        assert (local.searches, rooms.files("active"), rooms.files("cancelled")) == ({}, [], [])


async def test_without_its_study_the_file_is_removed_and_makes_none(sqlite_url: str, tmp_path: Path) -> None:
    async with at_home(sqlite_url, tmp_path) as (local, rooms):
        await local._look_around()
        database = local._link.database
        delete_study(database, local.searches["exp"].status.study_id, "exp", is_forced=False)
        del rooms.scheduler.searches["exp"]
        for taken in rooms.spool.active():
            local.admission.add(taken)
        await local.admission.open()
        assert rooms.files("active") == []
        assert experiments.summaries(database, None) == []
