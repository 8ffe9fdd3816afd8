"""The history of an experiment's definition: who replaced it, when, and what changed.

This module only reads. Callers open the connection.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select

from tuned.storage.tables.schema import t_revision
from tuned.storage.tables.typed import require_typed

if TYPE_CHECKING:
    from tuned.protocol.trials import RevisionView


def revisions(connection: Connection, study_id: int) -> list[RevisionView]:
    """All replacements that are remembered, the newest first."""
    mine = select(t_revision).where(t_revision.c.study_id == study_id)
    return [_view(row) for row in connection.execute(mine.order_by(t_revision.c.revision.desc()))]


def revision(connection: Connection, study_id: int, number: int | None) -> RevisionView | None:
    """How this revision came about; None for the first one, and for one that is forgotten."""
    mine = (t_revision.c.study_id == study_id) & (t_revision.c.revision == number)
    row = connection.execute(select(t_revision).where(mine)).first()
    return None if row is None else _view(row)


def utc(seconds: float) -> str:
    """A time by the database's clock."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="microseconds")


def _view(row: Row[Any]) -> RevisionView:
    require_typed(row, t_revision)
    return {
        "revision": row.revision,
        "since": utc(row.since),
        "user": row.user_name,
        "host": row.host,
        "changes": [str(each) for each in json.loads(row.changes)],
    }
