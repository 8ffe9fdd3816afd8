"""Which experiments a host works on, while it is interrupted in the middle of a change."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from tests.acceptance.daemon import an_experiment
from tests.factories import linked, make_claimant
from tests.integration.daemon.wiring import Rooms, wired
from tuned.daemon.experiments import Experiments
from tuned.domain.claim import Claimed
from tuned.domain.states import StudyState
from tuned.errors import Conflict
from tuned.experiment.experiment import parse
from tuned.search.search import Search
from tuned.storage.changes import Author, replace_definition
from tuned.storage.link import Link
from tuned.storage.studies import set_state
from tuned.storage.tables.schema import studies


@contextmanager
def watching(link: Link, home: Path) -> Iterator[Experiments]:
    """With one file in its spool."""
    with wired(link, home) as rooms:
        rooms.drop("exp", an_experiment())
        yield Experiments(link, rooms.spool, rooms.scheduler, rooms.events, on_notices=lambda: None)


async def test_a_file_whose_opening_was_interrupted_is_not_taken_for_a_second_one(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with linked(database_url) as link:
        with watching(link, tmp_path) as local:
            await local.hold(make_claimant(link.database))
            is_looked_at = asyncio.Event()

            async def never(_search: Search) -> bool:
                is_looked_at.set()
                await asyncio.Event().wait()
                raise AssertionError

            with monkeypatch.context() as patch:
                patch.setattr(Search, "refresh", never)
                taking = asyncio.create_task(local.take())
                await is_looked_at.wait()
                taking.cancel()
                with suppress(asyncio.CancelledError):
                    await taking
            await local.admission.open()
            assert list(local.searches) == ["exp"]
            assert (tmp_path / "spool" / "active" / "exp.toml").exists()
            assert not list((tmp_path / "spool" / "rejected").iterdir())


def commanded(program: str, more: str = "", *, high: int = 10**6) -> str:
    text = f'[objective]\ncommand = ["{program}"]\n{more}\n'
    return f'{text}[space.x]\ntype = "int"\nlow = 0\nhigh = {high}\n[budget]\ntrials = 3\n'


@asynccontextmanager
async def at_work(url: str, home: Path, text: str) -> AsyncIterator[tuple[Experiments, Rooms]]:
    """A host that has opened ``exp``."""
    async with linked(url) as link:
        with wired(link, home) as rooms:
            local = Experiments(link, rooms.spool, rooms.scheduler, rooms.events, on_notices=lambda: None)
            await local.hold(make_claimant(link.database))
            rooms.drop("exp", text)
            await local.take()
            yield local, rooms


ANN = Author(user="ann", host="h1")


async def test_a_replacement_changes_what_this_host_runs_from_then_on(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_work(sqlite_url, tmp_path, commanded("old")) as (local, rooms):
        search = local.searches["exp"]
        before = await search.claim_next(0)
        text = commanded("new", 'workdir = "/srv"\nenv = { TOKEN = "sesame" }')
        changes = await local.replace("exp", text.encode(), ANN)
        assert changes == (
            'objective.command: ["new"], was ["old"]',
            'objective.workdir: "/srv", was not set (on h1 and hosts that took the file over)',
            "objective.env: other variables (on h1 and hosts that took the file over)",
        )
        after = await search.claim_next(0)
        assert isinstance(before, Claimed)
        assert isinstance(after, Claimed)
        found = [search.adoption.of(claimed.revision).objective for claimed in (before, after)]
        assert [(each.command, each.workdir) for each in found] == [(("old",), None), (("new",), "/srv")]
        assert found[1].env == {"TOKEN": "sesame"}
        assert (rooms.spool.path / "active" / "exp.toml").read_text() == text


async def test_a_renamed_study_is_replaced_and_retried_by_a_file_of_its_old_name(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_work(sqlite_url, tmp_path, commanded("old")) as (local, _):
        with local._link.database.transaction() as connection:
            connection.execute(update(studies).values(study_name="theirs"))
        await local._look_around()
        changes = await local.replace("theirs", commanded("new").encode(), ANN)
        assert changes == ('objective.command: ["new"], was ["old"]',)
        assert local.searches["exp"].experiment.objective.command == ("new",)
        assert await local.retry("theirs", None) == 0


async def test_a_host_takes_up_what_was_replaced_on_another_one_and_keeps_its_own_keys(
    database_url: str, tmp_path: Path
) -> None:
    async with at_work(database_url, tmp_path, commanded("old", 'workdir = "/a"')) as (local, _):
        search = local.searches["exp"]
        other = parse(commanded("new", 'workdir = "/b"').encode(), "exp.toml")
        await local._link.call(replace_definition, search.status.study_id, other, ANN)
        with capture_logs() as logs:
            await local._look_around()
        assert (search.experiment.objective.command, search.experiment.objective.workdir) == (("new",), "/a")
        [said] = [each for each in logs if each["event"] == "definition replaced"]
        assert (said["revision"], said["changes"]) == (2, ['objective.command: ["new"], was ["old"]'])


async def test_a_replacement_that_is_refused_changes_nothing(sqlite_url: str, tmp_path: Path) -> None:
    async with at_work(sqlite_url, tmp_path, commanded("old")) as (local, rooms):
        with pytest.raises(Conflict, match=r"space.x.high: 5 here, 10+ in the database; with space changed"):
            await local.replace("exp", commanded("new", high=5).encode(), ANN)
        assert local.searches["exp"].experiment.objective.command == ("old",)
        assert (rooms.spool.path / "active" / "exp.toml").read_text() == commanded("old")


@pytest.mark.parametrize(
    ("other", "way"),
    [
        (commanded("new"), "for the trials that start from now on: tunectl submit --replace FILE"),
        (commanded("old", 'workdir = "/b"'), "in the file that is active; .*--replace FILE"),
        (commanded("old", high=5), r"give it another name, or delete .*\(tunectl delete exp; "),
    ],
)
async def test_a_file_of_an_active_name_is_rejected_with_the_way_on(
    sqlite_url: str, tmp_path: Path, other: str, way: str
) -> None:
    async with at_work(sqlite_url, tmp_path, commanded("old")) as (local, rooms):
        rooms.drop("exp", other)
        await local.take()
        reason = (rooms.spool.path / "rejected" / "exp.toml.error").read_text()
        assert re.search(way, reason)


async def test_the_same_file_again_is_told_as_unchanged(sqlite_url: str, tmp_path: Path) -> None:
    async with at_work(sqlite_url, tmp_path, commanded("old")) as (local, rooms):
        with rooms.events.subscribe() as following:
            rooms.drop("exp", commanded("old"))
            await local.take()
            event = await anext(aiter(following))
        assert (event["event"], event["file"]) == ("experiment-same", "exp.toml")
        assert rooms.files("rejected") == []


async def test_a_done_experiment_goes_on_with_the_file_that_replaced_its_own(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_work(sqlite_url, tmp_path, commanded("old")) as (local, rooms):
        search = local.searches["exp"]
        await local._link.call(set_state, search.status.study_id, StudyState.DONE)
        await local.check(search)
        assert (rooms.files("active"), rooms.files("done")) == ([], ["exp.toml"])
        text = commanded("new", 'workdir = "/b"').replace("trials = 3", "trials = 5")
        await local.replace("exp", text.encode(), ANN)
        assert local.searches["exp"].experiment.objective.workdir == "/b"
        assert (rooms.spool.path / "active" / "exp.toml").read_text() == text


async def test_a_beat_that_comes_between_does_not_bring_the_old_file_back(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(sqlite_url, tmp_path, commanded("old")) as (local, rooms):
        search = local.searches["exp"]
        await local._link.call(set_state, search.status.study_id, StudyState.DONE)
        await local.check(search)
        go_on, beats = local._go_on, []

        async def after_a_beat(name: str, study_id: int, content: bytes) -> None:
            beats.append(asyncio.create_task(local._look_around()))
            await asyncio.wait(beats, timeout=1)
            await go_on(name, study_id, content)

        monkeypatch.setattr(local, "_go_on", after_a_beat)
        text = commanded("new", 'workdir = "/b"').replace("trials = 3", "trials = 5")
        await local.replace("exp", text.encode(), ANN)
        await beats[0]
        assert local.searches["exp"].experiment.objective.workdir == "/b"
        assert (rooms.spool.path / "active" / "exp.toml").read_text() == text
