"""Experiments that were done here: their files come back while they are remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.acceptance.daemon import an_experiment
from tests.factories import linked, make_claimant
from tests.integration.daemon.wiring import wired
from tuned.daemon.experiments import Experiments
from tuned.daemon.files.ended import MOST_ENDED, Ended
from tuned.disk.arrivals import Folder
from tuned.domain.states import StudyState


async def test_the_file_of_an_experiment_that_is_open_again_comes_back(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with linked(sqlite_url) as link:
        with wired(link, tmp_path) as rooms:
            rooms.drop("exp", an_experiment())
            local = Experiments(link, rooms.spool, rooms.scheduler, rooms.events, on_notices=lambda: None)
            await local.hold(make_claimant(link.database))
            await local.take()
            search, ended = local.searches["exp"], Ended(rooms.spool)
            ended.remember(search)
            rooms.spool.retire("exp", Folder.DONE)
            status = replace(search.status, state=StudyState.DONE)
            assert await ended.bring_back("exp", status) is None
            assert await ended.bring_back("exp", search.status) is not None
            assert (rooms.files("active"), ended.studies) == (["exp.toml"], {})
            for number in range(MOST_ENDED + 1):
                search.status = replace(search.status, study_id=number)
                ended.remember(search)
            assert 0 not in ended.studies
            assert len(ended.studies) == MOST_ENDED
