"""The database's memory of a host: how far that has told its outbox, and which claims it holds.

A database that failed over to an asynchronous standby, or was restored, has forgotten its last transactions.
This module only reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from tuned.domain.claim import Claimant
from tuned.domain.states import PointState
from tuned.storage.database import Database
from tuned.storage.tables.schema import t_host, t_point, t_trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """One look."""

    #: The number of the newest record of the host's outbox that the database has; 0 if it has none.
    told: int
    #: The claims that the incarnation holds, with the study of each.
    claims: Mapping[str, int]


def remembered(database: Database, claimant: Claimant) -> Remembered:
    with database.reading() as connection:
        held = connection.execute(
            select(t_trial.c.claim_id, t_point.c.study_id)
            .join(t_trial, t_trial.c.trial_id == t_point.c.trial_id)
            .where(t_point.c.state == PointState.HELD, t_point.c.incarnation == claimant.incarnation)
        ).all()
        told = _told(connection, claimant.host)
    return Remembered(told=told, claims={row.claim_id: row.study_id for row in held})


def told_by(database: Database, host: str) -> int:
    """The number of the newest record of the host's outbox that the database has; 0 if it has none."""
    with database.reading() as connection:
        return _told(connection, host)


def _told(connection: Connection, host: str) -> int:
    return connection.execute(select(t_host.c.told).where(t_host.c.name == host)).scalar() or 0
