"""Snapshots in the database: whole or not there, and removed when nobody needs them any more."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from tests.factories import join, line
from tuned.disk.code import archive
from tuned.domain.snapshot import Manifest
from tuned.domain.states import StudyState
from tuned.errors import Conflict, NotFound
from tuned.experiment.experiment import Experiment, parse
from tuned.storage import snapshots
from tuned.storage.changes import Author, replace_definition
from tuned.storage.database import Database
from tuned.storage.queries import experiments
from tuned.storage.studies import set_state
from tuned.storage.tables.schema import t_code, t_code_part, t_study

ANN = Author(user="ann", host="h1")


def packed(home: Path, **files: bytes) -> tuple[Path, Manifest]:
    directory = home / "code"
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    with (home / "archive").open("wb") as into:
        return home / "archive", archive.take(directory, into, file="exp.toml", limit=2**30)


def fetched(database: Database, digest: str) -> bytes:
    pieces: list[bytes] = []
    while (piece := snapshots.part(database, digest, len(pieces))) is not None:
        pieces.append(piece)
    return b"".join(pieces)


def with_code(digest: str, trials: int = 5) -> Experiment:
    text = f'[objective]\ncommand = ["./x"]\n[code]\ndir = "/x"\n[budget]\ntrials = {trials}\n{line(9)}'
    return parse(text.encode(), "exp.toml").with_snapshot(digest)


def count(database: Database) -> tuple[int, int]:
    with database.reading() as connection:
        return tuple(  # type: ignore[return-value]
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (t_code, t_code_part)
        )


def test_an_archive_comes_back_in_pieces_of_bounded_size(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "PART_BYTES", 100)
    path, manifest = packed(tmp_path, a=bytes(range(256)), b=b"")
    assert snapshots.keep(database, path, manifest)
    assert not snapshots.keep(database, path, manifest)
    assert fetched(database, manifest.digest) == path.read_bytes()
    assert count(database) == (1, -(-path.stat().st_size // 100))
    with pytest.raises(NotFound, match="snapshot 000000000000 of its code is not in the database"):
        snapshots.part(database, "0" * 64, 0)


def test_two_hosts_that_give_the_same_one_write_it_once(database: Database, tmp_path: Path) -> None:
    path, manifest = packed(tmp_path, a=bytes(3_000_000))
    made: list[bool] = []
    threads = [
        threading.Thread(target=lambda: made.append(snapshots.keep(database, path, manifest)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, True]
    assert archive.manifest_of(io.BytesIO(fetched(database, manifest.digest)), limit=2**30) == manifest


def test_a_damaged_one_is_written_anew_when_it_is_given_again(database: Database, tmp_path: Path) -> None:
    path, manifest = packed(tmp_path, a=b"x" * 1000)
    snapshots.keep(database, path, manifest)
    with database.transaction() as connection:
        connection.execute(update(t_code_part).values(content=b"no archive"))
    assert snapshots.keep(database, path, manifest)
    assert fetched(database, manifest.digest) == path.read_bytes()


def test_a_study_has_the_code_of_each_of_its_revisions(database: Database, tmp_path: Path) -> None:
    manifests = []
    for content in (b"1", b"2"):
        path, manifest = packed(tmp_path, a=content)
        snapshots.keep(database, path, manifest)
        manifests.append(manifest)
    first, second = (manifest.digest for manifest in manifests)
    member = join(database, with_code(first))
    study_id = member.status.study_id
    member.evaluate(1, 0.5)
    with pytest.raises(Conflict, match=r"other files here than in the database \(changed a\); .*--code FILE"):
        join(database, with_code(second))
    # Without code of its own, a replacement leaves it as it is.
    assert replace_definition(database, study_id, with_code("", trials=7), ANN).changes == (
        "budget.trials: 7, was 5",
    )
    made = replace_definition(database, study_id, with_code(second, trials=7), ANN)
    assert made.changes == (f"code: snapshot {second[:12]}, was {first[:12]} (changed a)",)
    with database.reading() as connection:
        found = [snapshots.of_revision(connection, study_id, revision) for revision in (None, 1, 2, 3)]
    assert found == [None, first, first, second]
    assert experiments.story(database, "exp", 0)["code"] == first


def test_a_study_begins_and_changes_only_with_code_that_is_there(database: Database) -> None:
    with pytest.raises(NotFound, match="is not in the database"):
        join(database, with_code("a" * 64))
    with pytest.raises(Conflict, match="submit its file again"):
        join(database, with_code(""))
    without = parse(f'[objective]\ncommand = ["./x"]\n{line(9)}'.encode(), "exp.toml")
    study_id = join(database, without).status.study_id
    with pytest.raises(Conflict, match=r"\[code\] is new, and a snapshot of it is needed"):
        replace_definition(database, study_id, with_code(""), ANN)


def test_one_goes_two_weeks_after_the_last_study_that_needs_it(database: Database, tmp_path: Path) -> None:
    path, manifest = packed(tmp_path, a=b"1")
    snapshots.keep(database, path, manifest)
    study_id = join(database, with_code(manifest.digest)).status.study_id

    def age(seconds: float) -> None:
        with database.transaction() as connection:
            connection.execute(update(t_code).values(given=t_code.c.given - seconds))
            connection.execute(update(t_study).values(ended=t_study.c.ended - seconds))

    age(snapshots.UNUSED_SECONDS + 60)
    assert snapshots.forget_unused(database) == 0
    set_state(database, study_id, StudyState.CANCELLED)
    assert snapshots.forget_unused(database) == 0
    age(snapshots.UNUSED_SECONDS + 60)
    # Given again meanwhile, it stays.
    snapshots.keep(database, path, manifest)
    assert snapshots.forget_unused(database) == 0
    age(snapshots.UNUSED_SECONDS + 60)
    assert snapshots.forget_unused(database) == 1
    assert count(database) == (0, 0)
