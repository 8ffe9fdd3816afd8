"""A database whose file was removed or replaced is away, until its own file is back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.factories import opened
from tuned.errors import DatabaseAway
from tuned.storage.database import Database
from tuned.storage.tables.schema import t_meta


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tuned.db"


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    with opened(sqlite_url) as database:
        yield database


def write(database: Database, name: str) -> None:
    with database.transaction() as connection:
        connection.execute(t_meta.insert().values(name=name, value="1"))


def names(url: str) -> set[str]:
    with opened(url) as again, again.reading() as connection:
        return set(connection.execute(select(t_meta.c.name)).scalars())


def test_a_removed_file_is_missed_and_none_is_made_in_its_place(database: Database, file: Path) -> None:
    file.unlink()
    for use in (database.transaction, database.reading):
        with pytest.raises(DatabaseAway, match="file is gone") as caught, use():
            pass
        assert "put it back" in caught.value.remedy
    assert not file.exists()


def test_another_file_in_its_place_is_not_written_to(database: Database, file: Path) -> None:
    backup = shutil.copy(file, file.with_name("backup"))
    Path(backup).replace(file)
    with pytest.raises(DatabaseAway, match="was replaced") as caught:
        write(database, "lost")
    assert "restart the daemon" in caught.value.remedy
    assert names(database.url) == {"version"}


def test_a_file_that_is_back_is_used_again_with_all_that_was_written(database: Database, file: Path) -> None:
    write(database, "before")
    moved = file.rename(file.with_name("moved"))
    for beside in (file.with_name("tuned.db-wal"), file.with_name("tuned.db-shm")):
        beside.unlink()
    with pytest.raises(DatabaseAway):
        write(database, "meanwhile")
    moved.rename(file)
    write(database, "after")
    assert names(database.url) == {"version", "before", "after"}
