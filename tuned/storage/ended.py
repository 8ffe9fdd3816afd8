"""Which studies have ended, and how long ago by the database's clock, for the hosts that have files of them.

It must never take a study for ended whose row cannot be read, or that is not found: that one may come back
with a database that is restored.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select

from tuned.domain.states import StudyState
from tuned.experiment.likeness import name_in
from tuned.storage.tables.functions import epoch
from tuned.storage.tables.schema import UID_KEPT, studies, study_system_attributes, t_study

if TYPE_CHECKING:
    from tuned.storage.database import Database

_ENDED = (StudyState.CANCELLED, StudyState.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A study that the database has."""

    #: The study's name, which another program may have changed.
    name: str
    #: The name by which hosts keep its files.
    called: str
    #: How long ago it ended; None if it has not, or its row cannot be read.
    ended_seconds: float | None


def standings(database: Database, uids: Collection[str]) -> dict[str, Standing]:
    """These studies, by uid. One that the database does not have is missing."""
    with database.reading() as connection:
        rows = connection.execute(
            select(
                t_study.c.uid,
                t_study.c.state,
                t_study.c.ended,
                t_study.c.definition,
                studies.c.study_name,
                epoch().label("now"),
            )
            .join(study_system_attributes, UID_KEPT)
            .join(studies, studies.c.study_id == t_study.c.study_id)
            .where(t_study.c.uid.in_(uids))
        )
        return {row.uid: _standing(row) for row in rows}


def _standing(row: Row[Any]) -> Standing:
    called = name_in(row.definition)
    is_readable = called is not None and isinstance(row.ended, int | float) and math.isfinite(row.ended)
    ended = max(0.0, row.now - row.ended) if is_readable and row.state in _ENDED else None
    return Standing(name=row.study_name, called=called or row.study_name, ended_seconds=ended)
