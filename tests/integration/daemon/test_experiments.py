"""Which experiments a host works on, while it is interrupted in the middle of a change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import tuned.daemon.admission
from tests.acceptance.daemon import an_experiment
from tests.factories import linked, make_claimant
from tuned.daemon.experiments import Experiments
from tuned.daemon.scheduler import Scheduler
from tuned.daemon.teller import Teller
from tuned.disk.outbox import Outbox
from tuned.disk.spool import Spool
from tuned.disk.state import StateDirectory
from tuned.domain.claim import Claimed
from tuned.domain.study_status import StudyStatus
from tuned.events import Events
from tuned.search.search import Search
from tuned.storage.link import Link
from tuned.storage.studies import open_study
from tuned.trial.evaluation import Site


@contextmanager
def host_experiments(link: Link, home: Path) -> Iterator[Experiments]:
    """With one file in its spool."""
    (home / "spool").mkdir(mode=0o700)
    (home / "spool" / ".exp").write_text(an_experiment())
    (home / "spool" / ".exp").rename(home / "spool" / "exp.toml")
    with StateDirectory.open(home / "state") as state, Spool(home / "spool") as spool:
        events, teller = Events("h1"), Teller(link, Outbox(state.outbox))
        site = Site(host="h1", state=state, cgroups=None, grace_seconds=0.0)
        yield Experiments(link, spool, Scheduler(link, teller, site, 1), events)


async def test_a_file_whose_opening_was_interrupted_is_not_taken_for_a_second_one(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with linked(database_url) as link:
        with host_experiments(link, tmp_path) as experiments:
            await experiments.hold(make_claimant(link.database))
            is_looked_at = asyncio.Event()

            async def never(_search: Search) -> bool:
                is_looked_at.set()
                await asyncio.Event().wait()
                raise AssertionError

            with monkeypatch.context() as patch:
                patch.setattr(Search, "refresh", never)
                taking = asyncio.create_task(experiments.take())
                await is_looked_at.wait()
                taking.cancel()
                with suppress(asyncio.CancelledError):
                    await taking
            await experiments._admission.open()
            assert list(experiments.searches) == ["exp"]
            assert (tmp_path / "spool" / "active" / "exp.toml").exists()
            assert not list((tmp_path / "spool" / "rejected").iterdir())


async def test_what_is_opened_while_the_host_joins_again_is_claimed_for_the_new_incarnation(
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
        with host_experiments(link, tmp_path) as experiments:
            await experiments.hold(make_claimant(link.database))
            taking = asyncio.create_task(experiments.take())
            assert await asyncio.to_thread(is_opening.wait, 60)
            later = make_claimant(link.database)
            rejoining = asyncio.create_task(experiments.hold(later))
            # It runs until it waits for the experiment to open.
            await asyncio.sleep(0)
            may_open.set()
            await asyncio.gather(taking, rejoining)
            [search] = experiments.searches.values()
            outcome = await search.claim_next(0)
            assert isinstance(outcome, Claimed)
            assert outcome.incarnation == later.incarnation
