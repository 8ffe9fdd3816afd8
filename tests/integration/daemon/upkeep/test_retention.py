"""Output and checkpoints of experiments that have ended go, and nothing else does."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.acceptance.daemon import an_experiment
from tests.factories import linked, make_claimant
from tests.integration.daemon.wiring import Rooms, wired
from tests.integration.storage.steps import delete_by_optuna
from tests.postgres import PostgresServer
from tests.waiting import until_async
from tuned.daemon.experiments import Experiments
from tuned.daemon.upkeep.retention import Retention
from tuned.disk import leftovers, removal
from tuned.disk.layout import Layout, study_folder
from tuned.domain.retention import Keep, Part
from tuned.domain.states import StudyState
from tuned.errors import Conflict, DatabaseAway, NotFound
from tuned.storage.link import Link
from tuned.storage.studies import set_state
from tuned.storage.tables.schema import t_study

DAY = 86400.0
A_DAY = Keep(output_seconds=DAY, checkpoints_seconds=DAY)


@dataclass(frozen=True, kw_only=True)
class Home:
    """A host with the studies ``exp`` and ``other``, on which it works; each has a trial and a point."""

    link: Link
    rooms: Rooms
    local: Experiments
    retention: Retention
    uids: dict[str, str]

    @property
    def layout(self) -> Layout:
        return self.rooms.scheduler.layout

    def fill(self, name: str, numbers: Sequence[int] = (0,)) -> None:
        uid = self.uids[name]
        for number in numbers:
            files = self.layout.trial(study_folder(name, uid), number)
            files.directory.mkdir(parents=True)
            files.log.write_bytes(bytes(4096))
        point = self.layout.point(uid, "key")
        point.mkdir(parents=True, exist_ok=True)
        (point / "state").write_bytes(bytes(4096))

    async def end(self, name: str, *, ago: float = 2 * DAY, into: StudyState = StudyState.CANCELLED) -> None:
        """As another host may do it: this one looks around before it lets its search go."""
        study_id = self.local.searches[name].status.study_id
        await self.link.call(set_state, study_id, into)
        await self.local._look_around()
        await self.age(study_id, ago)

    async def age(self, study_id: int, ago: float) -> None:
        with self.link.database.transaction() as connection:
            mine = update(t_study).where(t_study.c.study_id == study_id)
            connection.execute(mine.values(ended=t_study.c.ended - ago))

    def left(self, name: str) -> tuple[list[str], list[str]]:
        """Its trials and its points."""
        uid = self.uids[name]
        trials = self.layout.trials / study_folder(name, uid)
        found = (trials, self.layout.points / uid)
        both = [sorted(path.name for path in part.iterdir()) if part.exists() else [] for part in found]
        return both[0], both[1]


@asynccontextmanager
async def a_home(url: str, home: Path, keep: Keep = A_DAY) -> AsyncIterator[Home]:
    async with linked(url) as link:
        with wired(link, home) as rooms:
            local = Experiments(link, rooms.spool, rooms.scheduler, rooms.events, on_notices=lambda: None)
            await local.hold(make_claimant(link.database))
            for name in ("exp", "other"):
                rooms.drop(name, an_experiment())
            await local.take()
            uids = {name: search.status.uid for name, search in local.searches.items()}
            retention = Retention(link, rooms.events, rooms.scheduler, keep)
            # Its loop begins with nothing to do.
            running = asyncio.create_task(retention.run())
            await until_async(lambda: retention._has_begun, what="the loop to begin")
            made = Home(link=link, rooms=rooms, local=local, retention=retention, uids=uids)
            for name in uids:
                made.fill(name)
            yield made
            running.cancel()


@pytest.fixture
def memory_home() -> Iterator[Path]:
    """In memory, because a busy disk takes a minute for so many."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as home:
        yield Path(home)


async def test_an_ended_experiment_loses_its_files_after_the_time_and_one_at_work_keeps_them(
    database_url: str, tmp_path: Path
) -> None:
    async with a_home(database_url, tmp_path) as home:
        await home.end("exp")
        dry = await home.retention.clean(is_dry=True)
        assert home.left("exp") == (["0"], ["key"])
        view = await home.retention.clean()
        assert {each["experiment"] for each in view["removed"]} == {"exp"}
        went = [(each["part"], each["count"], each["rule"]) for each in view["removed"]]
        assert went == [("output", 1, "age"), ("checkpoints", 1, "age")]
        assert (dry["removed"], dry["freed_bytes"]) == (view["removed"], view["freed_bytes"])
        assert (view["freed_bytes"] >= 8192, view["left_bytes"] >= 8192, view["problems"]) == (True, True, [])
        assert (home.left("exp"), home.left("other")) == (([], []), (["0"], ["key"]))
        assert (await home.retention.clean())["removed"] == []


async def test_nothing_goes_before_its_time_or_without_a_limit(sqlite_url: str, tmp_path: Path) -> None:
    async with a_home(sqlite_url, tmp_path) as home:
        await home.end("exp", ago=DAY / 2)
        assert (await home.retention.clean())["removed"] == []
        home.retention.limit(Keep())
        assert (await home.retention.clean())["removed"] == []
        assert home.left("exp") == (["0"], ["key"])


@pytest.mark.parametrize("state", ["paused", "ended by others", "opened again", "not found", "unreadable"])
async def test_a_study_keeps_its_files_unless_it_has_ended_for_all(
    sqlite_url: str, tmp_path: Path, state: str
) -> None:
    async with a_home(sqlite_url, tmp_path, Keep(size_bytes=1, output_seconds=1)) as home:
        status = home.local.searches["exp"].status
        if state == "paused":
            await home.end("exp", into=StudyState.PAUSED)
        elif state == "ended by others":
            # This host has not looked yet: its trials may still run.
            await home.link.call(set_state, status.study_id, StudyState.CANCELLED)
            await home.age(status.study_id, 2 * DAY)
        else:
            await home.end("exp")
        if state == "opened again":
            await home.link.call(set_state, status.study_id, StudyState.OPEN)
        elif state == "not found":
            delete_by_optuna(home.link.database)
        elif state == "unreadable":
            with home.link.database.transaction() as connection:
                connection.execute(update(t_study).values(definition="?"))
        view = await home.retention.clean()
        assert (view["removed"], home.left("exp")) == ([], (["0"], ["key"]))
        # It counts for the size, though.
        assert view["left_bytes"] >= 4 * 4096


async def test_a_study_that_opens_again_while_it_is_cleaned_keeps_the_rest(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with a_home(sqlite_url, tmp_path) as home:
        status = home.local.searches["exp"].status
        await home.end("exp")
        async with home.rooms.scheduler.admitting:
            cleaning = asyncio.create_task(home.retention.clean())
            waiting = home.rooms.scheduler.admitting
            await until_async(lambda: bool(waiting._waiters), what="the removal to wait")
            await home.link.call(set_state, status.study_id, StudyState.OPEN)
        assert (await cleaning)["removed"] == []
        assert home.left("exp") == (["0"], ["key"])


async def test_no_experiment_begins_while_files_go(sqlite_url: str, tmp_path: Path) -> None:
    async with a_home(sqlite_url, tmp_path) as home:
        await home.end("exp")
        async with home.rooms.scheduler.admitting:
            home.rooms.drop("exp", an_experiment())
            taking = asyncio.create_task(home.local.take())
            await until_async(lambda: bool(home.rooms.scheduler.admitting._waiters), what="it to wait")
            assert list(home.local.searches) == ["other"]
        await taking
        assert (await home.retention.clean())["removed"] == []
        assert sorted(home.local.searches) == ["exp", "other"]


async def test_an_experiment_is_cleaned_at_once_if_a_person_says_so(sqlite_url: str, tmp_path: Path) -> None:
    async with a_home(sqlite_url, tmp_path, Keep()) as home:
        with pytest.raises(
            Conflict, match="cannot clean exp: it has not ended; to end it: tunectl cancel exp"
        ):
            await home.retention.clean("exp")
        with pytest.raises(NotFound):
            await home.retention.clean("nothing")
        await home.end("exp", ago=0)
        view = await home.retention.clean("exp")
        assert [each["rule"] for each in view["removed"]] == ["asked", "asked"]
        assert (home.left("exp"), home.left("other")) == (([], []), (["0"], ["key"]))
        # Its deletion later finds this host by the mark that is left.
        assert home.uids["exp"] in leftovers.studies(home.layout)


async def test_the_loop_follows_new_limits_at_once_and_tells(sqlite_url: str, tmp_path: Path) -> None:
    async with a_home(sqlite_url, tmp_path, Keep()) as home:
        await home.end("exp")
        with home.rooms.events.subscribe() as subscription:
            home.retention.limit(Keep(size_bytes=1))
            events = aiter(subscription)
            told: list[Any] = [await anext(events), await anext(events)]
        assert [(each["event"], each["experiment"]) for each in told] == [("files-removed", "exp")] * 2
        assert {each["removed"]["part"] for each in told} == {"output", "checkpoints"}
        assert home.left("exp") == ([], [])
        await until_async(lambda: bool(home.retention._faults), what="the end of the look")
        [warning] = await home.retention.warnings()
        assert warning.startswith("output and checkpoints take ")
        assert "more than keep.size (1): the rest is of experiments that have not ended" in warning


async def test_the_loop_begins_with_the_rest_of_a_removal_that_was_cut_off(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with a_home(sqlite_url, tmp_path, Keep()) as home:
        uid = home.uids["exp"]
        list(removal.set_aside(home.layout, Part.OUTPUT, uid, study_folder("exp", uid), ["0"]))
        later = Retention(home.link, home.rooms.events, home.rooms.scheduler, Keep())
        running = asyncio.create_task(later.run())
        aside = home.layout.aside[0]
        await until_async(lambda: not list(aside.iterdir()), what="the rest to go")
        running.cancel()
        assert home.left("exp") == ([], ["key"])


async def test_nothing_goes_while_the_database_is_away(postgres: PostgresServer, tmp_path: Path) -> None:
    async with a_home(postgres.url(), tmp_path) as home:
        await home.end("exp")
        await asyncio.to_thread(postgres.stop)
        for _ in range(2):
            with pytest.raises(DatabaseAway):
                await home.retention.clean()
        await home.retention._tidy()
        assert home.left("exp") == (["0"], ["key"])
        await asyncio.to_thread(postgres.start)
        await home.link.back()
        assert (await home.retention.clean())["removed"]


async def test_nothing_is_cleaned_before_the_host_knows_what_it_works_on(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with a_home(sqlite_url, tmp_path) as home:
        early = Retention(home.link, home.rooms.events, home.rooms.scheduler, A_DAY)
        with pytest.raises(Conflict, match="has not joined the fleet"):
            await early.clean()


async def test_something_that_cannot_be_moved_is_told_and_the_rest_goes(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with a_home(sqlite_url, tmp_path) as home:
        await home.end("exp")
        # A file has the place to which trials are moved.
        home.layout.aside[0].write_text("")
        view = await home.retention.clean()
        assert [each["part"] for each in view["removed"]] == ["checkpoints"]
        [problem] = view["problems"]
        assert problem.startswith("cannot remove output of exp: ")
        assert await home.retention.warnings() == [problem]
        assert home.left("exp") == (["0"], [])


async def test_the_loop_waits_for_none_of_ten_thousand_directories(
    sqlite_url: str, memory_home: Path
) -> None:
    async with a_home(sqlite_url, memory_home) as home:
        await asyncio.to_thread(home.fill, "exp", range(1, 10_000))
        await home.end("exp")
        cleaning = asyncio.create_task(home.retention.clean())
        turns = 0
        while not (await asyncio.wait([cleaning], timeout=0.01))[0]:
            turns += 1
        view = await cleaning
        assert (view["removed"][0]["count"], home.left("exp")) == (10_000, ([], []))
        assert view["freed_bytes"] >= 10_000 * 4096
        # In one piece, it would be none.
        assert turns > 10
