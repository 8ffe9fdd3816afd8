"""The files of experiments as a person dropped them, for the hosts on which nobody did.

It owns the rows of ``t_file``. A host's own file of an experiment overrides the local keys on that host
alone, so it never replaces the shared one. It must never decide which host takes a file over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, select, true, update

from tuned.domain.states import StudyState
from tuned.storage.database import Database
from tuned.storage.deletions import TOMBSTONE_MARK, Tombstones, read_tombstones
from tuned.storage.joining import insert_or_nothing
from tuned.storage.tables.schema import UID_KEPT, study_system_attributes, t_file, t_study
from tuned.storage.trials.notices import ANY_DUE

if TYPE_CHECKING:
    from tuned.experiment.experiment import Experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFile:
    """A file that one host of the fleet was given by a person."""

    #: That host.
    host: str
    #: Without suffix.
    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An open study with a shared file, at one revision of its definition."""

    study_id: int
    uid: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The effect of another file on the hosts on which nobody dropped one."""

    #: Whether they go by it from now on.
    is_followed: bool
    #: The content by which they went before; None if there was none.
    before: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """All that a host asks for besides its own studies."""

    tombstones: Tombstones
    offers: tuple[Offer, ...]
    #: Somebody is to be told something now.
    has_notices: bool


def share(
    connection: Connection, database: Database, study_id: int, experiment: Experiment, file: SharedFile
) -> None:
    """Keeps the file of a study for other hosts, unless they have one to go by or are to have none."""
    if experiment.fleet.is_shared:
        values = {"host": file.host, "name": file.name, "content": file.content}
        connection.execute(insert_or_nothing(database, t_file).values(study_id=study_id, **values))


def share_anew(
    connection: Connection,
    database: Database,
    study_id: int,
    experiment: Experiment,
    file: SharedFile,
    *,
    is_override: bool = False,
) -> Reach:
    """Other hosts go by this file from now on; not if it overrides the shared one on its own host alone."""
    mine = t_file.c.study_id == study_id
    if not experiment.fleet.is_shared:
        connection.execute(delete(t_file).where(mine))
        return Reach(is_followed=False)
    row = connection.execute(select(t_file).where(mine)).first()
    before = None if row is None else bytes(row.content)
    if row is not None and is_override and row.host != file.host:
        return Reach(is_followed=False, before=before)
    share(connection, database, study_id, experiment, file)
    values = {"host": file.host, "name": file.name, "content": file.content}
    connection.execute(update(t_file).where(mine).values(values))
    return Reach(is_followed=True, before=before)


def shared_file(database: Database, offer: Offer) -> tuple[SharedFile, str] | None:
    """The file of a study and the study's definition; None if it is not shared any more."""
    with database.reading() as connection:
        row = connection.execute(
            select(t_file, t_study.c.definition)
            .join(t_study, t_study.c.study_id == t_file.c.study_id)
            .where(t_file.c.study_id == offer.study_id, t_study.c.uid == offer.uid)
        ).first()
    if row is None:
        return None
    return SharedFile(host=row.host, name=row.name, content=bytes(row.content)), row.definition


def news(database: Database, known: Tombstones) -> News:
    """The tombstones, the open studies whose files are shared, and whether any news is to be told.

    One statement if no tombstone is new.
    """
    with database.reading() as connection:
        rows = connection.execute(_NEWS).all()
        mark = (rows[0].tombstones, rows[0].newest or 0.0)
        return News(
            tombstones=known if mark == known.mark else read_tombstones(connection, mark),
            has_notices=bool(rows[0].has_notices),
            offers=tuple(
                Offer(study_id=row.study_id, uid=row.uid, revision=row.revision)
                for row in rows
                if row.study_id is not None
            ),
        )


_OFFERED = (
    select(t_study.c.study_id, t_study.c.uid, t_study.c.revision)
    .join(t_file, t_file.c.study_id == t_study.c.study_id)
    .join(study_system_attributes, UID_KEPT)
    .where(t_study.c.state.in_([StudyState.OPEN, StudyState.PAUSED]))
    .subquery("offered")
)

_MARK = TOMBSTONE_MARK.subquery("mark")

#: At least one row, though nothing is offered.
_NEWS = select(_MARK, ANY_DUE.label("has_notices"), _OFFERED).select_from(
    _MARK.join(_OFFERED, true(), isouter=True)
)
