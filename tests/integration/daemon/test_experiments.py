"""Which experiments a host works on, while it is interrupted in the middle of a change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.acceptance.daemon import an_experiment
from tests.factories import linked, make_claimant
from tests.integration.daemon.wiring import wired
from tuned.daemon.experiments import Experiments
from tuned.search.search import Search
from tuned.storage.link import Link


@contextmanager
def watching(link: Link, home: Path) -> Iterator[Experiments]:
    """With one file in its spool."""
    with wired(link, home) as rooms:
        rooms.drop("exp", an_experiment())
        yield Experiments(link, rooms.spool, rooms.scheduler, rooms.events)


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
            await local._admission.open()
            assert list(local.searches) == ["exp"]
            assert (tmp_path / "spool" / "active" / "exp.toml").exists()
            assert not list((tmp_path / "spool" / "rejected").iterdir())
