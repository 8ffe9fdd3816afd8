"""Snapshots of code in the database, each in rows of bounded size, and the studies that have them.

A snapshot is there whole or not at all: one transaction writes it. It must never look into an archive.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, exists, insert, or_, select, update

from tuned.disk.code import archive as archive_module
from tuned.domain.snapshot import Manifest, changes
from tuned.domain.states import StudyState
from tuned.errors import NotFound
from tuned.storage.joining import insert_or_nothing
from tuned.storage.tables.functions import affected, epoch
from tuned.storage.tables.schema import t_code, t_code_part, t_study, t_study_code

if TYPE_CHECKING:
    from tuned.storage.database import Database

#: A piece of an archive.
PART_BYTES = 1024**2

#: Nobody needs a snapshot of a search that has been over for so long.
UNUSED_SECONDS = 14 * 86400.0


def keep(database: Database, archive: Path, manifest: Manifest) -> bool:
    """Writes a snapshot into the database. False if it was there already, and is whole."""
    with database.transaction() as connection:
        row = {"digest": manifest.digest, "files": manifest.encode(), "given": epoch()}
        # Another host that keeps the same one waits here until it is whole.
        made = connection.execute(insert_or_nothing(database, t_code).values(row))
        if affected(made) == 0:
            known = t_code.c.digest == manifest.digest
            connection.execute(update(t_code).where(known).values(given=epoch()))
            if _is_whole(connection, manifest):
                return False
            connection.execute(delete(t_code_part).where(t_code_part.c.digest == manifest.digest))
        with archive.open("rb") as opened:
            for part, content in enumerate(iter(lambda: opened.read(PART_BYTES), b"")):
                piece = {"digest": manifest.digest, "part": part, "content": content}
                connection.execute(insert(t_code_part).values(piece))
    return True


def _is_whole(connection: Connection, manifest: Manifest) -> bool:
    """Whether the archive that is there is of these files."""
    pieces = select(t_code_part.c.content).where(t_code_part.c.digest == manifest.digest)
    with tempfile.TemporaryFile() as packed:
        for row in connection.execute(pieces.order_by(t_code_part.c.part)):
            packed.write(row.content if isinstance(row.content, bytes | memoryview) else b"")
        packed.seek(0)
        try:
            return archive_module.manifest_of(packed, limit=manifest.size_bytes) == manifest
        except archive_module.Damaged:
            return False


def part(database: Database, digest: str, number: int) -> bytes | None:
    """A piece of an archive; None behind the last one.

    Raises NotFound if there is no such snapshot, archive.Damaged if SQLite has something else there.
    """
    with database.reading() as connection:
        mine = (t_code_part.c.digest == digest) & (t_code_part.c.part == number)
        content = connection.execute(select(t_code_part.c.content).where(mine)).scalar()
        if content is None and number == 0:
            raise NotFound(f"snapshot {digest[:12]} of its code is not in the database")
        if isinstance(content, str | int | float):
            raise archive_module.Damaged("a piece of it is no bytes")
        return None if content is None else bytes(content)


def _require(connection: Connection, digest: str) -> None:
    """Raises NotFound if a snapshot went before its study was there."""
    if connection.execute(select(t_code.c.digest).where(t_code.c.digest == digest)).first() is None:
        raise NotFound(f"snapshot {digest[:12]} of its code is not in the database")


def assign(connection: Connection, study_id: int, revision: int, digest: str) -> None:
    """From this revision on, a study has another snapshot, or none. Raises NotFound if it is not there."""
    if digest:
        _require(connection, digest)
    row = {"study_id": study_id, "revision": revision, "digest": digest}
    connection.execute(insert(t_study_code).values(row))


def of_revision(connection: Connection, study_id: int, revision: int | None) -> str | None:
    """The digest of the snapshot that a study had then; None if it had none."""
    if revision is None:
        return None
    found = connection.execute(
        select(t_study_code.c.digest)
        .where(t_study_code.c.study_id == study_id, t_study_code.c.revision <= revision)
        .order_by(t_study_code.c.revision.desc())
        .limit(1)
    ).scalar()
    return str(found) if found else None


def difference(connection: Connection, mine: str, theirs: str) -> str:
    """The files in which a snapshot differs from another, in words; empty if that is not known."""
    rows = connection.execute(select(t_code).where(t_code.c.digest.in_([mine, theirs])))
    found = {row.digest: bytes(row.files) for row in rows}
    try:
        return changes(Manifest.decode(found[mine]), Manifest.decode(found[theirs]))
    except (KeyError, ValueError):
        return ""


def forget_unused(database: Database) -> int:
    """Removes the snapshots that nobody needs any more, and returns how many."""
    needs = exists().where(
        t_study_code.c.digest == t_code.c.digest,
        t_study_code.c.study_id == t_study.c.study_id,
        or_(
            t_study.c.state.in_([StudyState.OPEN, StudyState.PAUSED]),
            t_study.c.ended > epoch() - UNUSED_SECONDS,
        ),
    )
    with database.transaction() as connection:
        old = (t_code.c.given < epoch() - UNUSED_SECONDS) & ~needs
        # Locked, because somebody may be giving one again.
        unused = select(t_code.c.digest).where(old).with_for_update()
        digests = list(connection.execute(unused).scalars())
        if digests:
            connection.execute(delete(t_code_part).where(t_code_part.c.digest.in_(digests)))
            connection.execute(delete(t_code).where(t_code.c.digest.in_(digests)))
        return len(digests)
