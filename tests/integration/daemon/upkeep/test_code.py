"""Code that nobody needs any more goes from the database and from the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories import linked
from tests.integration.daemon.wiring import wired
from tuned.daemon.upkeep.code import tidy
from tuned.disk.code import archive
from tuned.errors import NotFound
from tuned.storage import snapshots


async def test_a_snapshot_of_no_study_goes(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "run").write_text("1\n")
    with (tmp_path / "archive").open("wb") as into:
        manifest = archive.take(tmp_path / "code", into, file="exp.toml", limit=2**20)
    async with linked(sqlite_url) as link:
        with wired(link, tmp_path) as rooms:
            await link.call(snapshots.keep, tmp_path / "archive", manifest)
            await tidy(link, rooms.scheduler)
            assert await link.call(snapshots.part, manifest.digest, 0) is not None
            monkeypatch.setattr(snapshots, "UNUSED_SECONDS", -1.0)
            await tidy(link, rooms.scheduler)
            with pytest.raises(NotFound):
                await link.call(snapshots.part, manifest.digest, 0)
