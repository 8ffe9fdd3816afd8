"""A deleted experiment leaves nothing on a host, and nothing goes that nobody deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import update

from tests.acceptance.daemon import an_experiment
from tests.factories import linked, make_claimant
from tests.integration.daemon.wiring import Rooms, wired
from tests.integration.storage.steps import delete_by_optuna
from tuned.daemon.deletions import Deletions
from tuned.daemon.experiments import Experiments
from tuned.disk import leftovers
from tuned.disk.layout import study_folder
from tuned.storage.deletions import delete_study
from tuned.storage.link import Link
from tuned.storage.queries import experiments
from tuned.storage.tables import schema


@asynccontextmanager
async def at_work(url: str, home: Path) -> AsyncIterator[tuple[Link, Rooms, Experiments]]:
    """A host that has opened ``exp``, and has a file of it and of another one in ``done/``."""
    async with linked(url) as link:
        with wired(link, home) as rooms:
            local = Experiments(link, rooms.spool, rooms.scheduler, rooms.events, on_notices=lambda: None)
            await local.hold(make_claimant(link.database))
            rooms.drop("exp", an_experiment())
            await local.take()
            assert list(local.searches) == ["exp"]
            for name in ("exp", "exp.1", "other"):
                (rooms.spool.path / "done" / f"{name}.toml").write_text(an_experiment())
            (rooms.spool.path / "cancelled" / "exp.toml").write_text(an_experiment(high=99))
            yield link, rooms, local


def here(rooms: Rooms) -> set[str]:
    return leftovers.studies(rooms.scheduler.layout)


async def test_an_experiment_that_is_deleted_here_leaves_nothing_here(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_work(sqlite_url, tmp_path) as (_, rooms, local):
        assert len(here(rooms)) == 1
        assert await local.delete("exp", is_forced=False) == 0
        assert (local.searches, here(rooms), rooms.files("active")) == ({}, set(), [])
        # The file in cancelled/ is another search's.
        assert (rooms.files("done"), rooms.files("cancelled")) == (["other.toml"], ["exp.toml"])


async def test_a_renamed_study_is_deleted_with_all_that_has_its_old_name_here(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_work(sqlite_url, tmp_path) as (link, rooms, local):
        with link.database.transaction() as connection:
            connection.execute(update(schema.studies).values(study_name="theirs"))
        await local._look_around()
        outputs = rooms.scheduler.layout.trials / study_folder("exp", local.searches["exp"].status.uid)
        outputs.mkdir(parents=True)
        await local.delete("theirs", is_forced=False)
        assert (local.searches, here(rooms), outputs.exists()) == ({}, set(), False)
        assert (rooms.files("active"), rooms.files("done")) == ([], ["other.toml"])


async def test_a_host_removes_what_was_deleted_on_another_one(database_url: str, tmp_path: Path) -> None:
    async with at_work(database_url, tmp_path) as (link, rooms, local):
        study_id = await link.call(experiments.find, "exp")
        await link.call(delete_study, study_id, "exp", is_forced=False)
        await local._look_around()
        await local._look_around()
        found = (local.searches, here(rooms), rooms.files("active"), rooms.files("done"))
        assert found == ({}, set(), [], ["other.toml"])


async def test_a_host_that_was_off_removes_what_was_deleted_before_it_opens_anything(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_work(sqlite_url, tmp_path) as (link, rooms, _):
        study_id = await link.call(experiments.find, "exp")
        await link.call(delete_study, study_id, "exp", is_forced=False)
        rooms.scheduler.searches.clear()
        started = Experiments(link, rooms.spool, rooms.scheduler, rooms.events, on_notices=lambda: None)
        await started.restore()
        await started.hold(make_claimant(link.database))
        assert (started.searches, here(rooms), rooms.files("active")) == ({}, set(), [])


async def test_outputs_of_a_study_that_is_only_not_found_stay(sqlite_url: str, tmp_path: Path) -> None:
    async with at_work(sqlite_url, tmp_path) as (link, rooms, local):
        outputs = here(rooms)
        delete_by_optuna(link.database)
        await local._look_around()
        assert (local.searches, here(rooms)) == ({}, outputs)
        assert (rooms.files("active"), rooms.files("cancelled")) == ([], ["exp.1.toml", "exp.toml"])


async def test_what_still_runs_is_not_removed_under_it(sqlite_url: str, tmp_path: Path) -> None:
    async with at_work(sqlite_url, tmp_path) as (link, rooms, local):
        [uid] = here(rooms)
        await link.call(delete_study, local.searches["exp"].status.study_id, "exp", is_forced=False)
        deletions = Deletions(link, rooms.spool, rooms.scheduler.layout, rooms.scheduler.doer, print)
        await deletions.look()
        await deletions.clear(but_not={uid})
        assert (deletions.has(uid), here(rooms)) == (True, {uid})


async def test_a_deleted_name_is_taken_again(sqlite_url: str, tmp_path: Path) -> None:
    async with at_work(sqlite_url, tmp_path) as (_, rooms, local):
        await local.delete("exp", is_forced=False)
        rooms.drop("exp", an_experiment(high=3))
        await local.take()
        await local._look_around()
        assert (local.searches["exp"].status.size, rooms.files("active")) == (4, ["exp.toml"])
