"""Endings on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.keeper.records import Records


@pytest.mark.parametrize("is_synced", [False, True])
async def test_a_record_is_found_until_it_is_removed(tmp_path: Path, is_synced: bool) -> None:
    records = Records(tmp_path / "runs")
    assert await records.found() == {}
    await records.put("c-1-1", b"one", is_synced=is_synced)
    await records.put("c-1-2", b"two", is_synced=is_synced)
    (tmp_path / "runs" / ".c-1-3.json.tmp").touch()
    assert await Records(tmp_path / "runs").found() == {"c-1-1": b"one", "c-1-2": b"two"}
    records.remove("c-1-1")
    records.remove("c-1-1")
    await records.settled()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["c-1-2.json"]


async def test_a_record_is_removed_after_a_writing_that_is_under_way(tmp_path: Path) -> None:
    records = Records(tmp_path / "runs")
    await records.found()
    writing = records.put("c-1-1", b"one", is_synced=True)
    await records.remove("c-1-1")
    assert writing.done()
    assert not [*(tmp_path / "runs").iterdir()]
