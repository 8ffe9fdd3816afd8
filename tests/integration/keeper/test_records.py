"""Endings on the disk."""

from __future__ import annotations

from pathlib import Path

from tuned.keeper.records import Records


def test_a_record_is_found_until_it_is_removed(tmp_path: Path) -> None:
    records = Records(tmp_path / "runs")
    assert records.found() == {}
    records.put("c-1-1", b"one")
    records.put("c-1-2", b"two")
    (tmp_path / "runs" / ".c-1-3.json.tmp").touch()
    assert Records(tmp_path / "runs").found() == {"c-1-1": b"one", "c-1-2": b"two"}
    records.remove("c-1-1")
    records.remove("c-1-1")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["c-1-2.json"]
