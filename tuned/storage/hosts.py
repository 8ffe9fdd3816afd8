"""Hosts in the database: registering, beats, and marking the dead.

No clock of a host is ever compared with another's. A host adds one to its counter; that it stands
still is for the others to see, each by its own monotonic clock.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from tuned.domain.states import HostState, PointState
from tuned.storage.database import Database
from tuned.storage.functions import affected
from tuned.storage.schema import t_host, t_point

if TYPE_CHECKING:
    from collections.abc import Mapping


#: Key of the advisory lock under which hosts register.
REGISTER_LOCK = 0x74756E6565


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRow:
    """One host as the database has it."""

    name: str
    installation_id: str
    incarnation: str
    beat: int
    dead: bool
    #: What the host says of itself.
    info: Mapping[str, Any]


def held(database: Database) -> dict[str, int]:
    """How many points each incarnation of a host holds: its trials that the database has as RUNNING."""
    with database.reading() as connection:
        found = connection.execute(
            select(t_point.c.incarnation, func.count().label("points"))
            .where(t_point.c.state == PointState.HELD)
            .group_by(t_point.c.incarnation)
        )
        return {row.incarnation: row.points for row in found}


def hosts(database: Database) -> list[HostRow]:
    with database.reading() as connection:
        return [
            HostRow(
                name=row.name,
                installation_id=row.installation_id,
                incarnation=row.incarnation,
                beat=row.beat,
                dead=row.dead,
                info=json.loads(row.info),
            )
            for row in connection.execute(select(t_host).order_by(t_host.c.name))
        ]


def register(database: Database, name: str, installation_id: str, info: Mapping[str, Any]) -> str | None:
    """Makes this daemon the host of this name and returns its new incarnation.

    What an earlier incarnation of the same installation held is an orphan from then on. None if another
    installation has the name, or this one another name, and is not known to be dead. Raises DatabaseAway.
    """
    incarnation = uuid.uuid4().hex
    values = {
        "installation_id": installation_id,
        "incarnation": incarnation,
        "dead": False,
        "info": json.dumps(info),
    }
    copies = select(t_host.c.name).where(
        t_host.c.installation_id == installation_id, t_host.c.name != name, t_host.c.dead.is_(False)
    )
    with database.transaction() as connection:
        if database.is_postgresql:
            # Daemons that begin at once must see each other's rows. SQLite has one writer anyway.
            connection.execute(select(func.pg_advisory_xact_lock(REGISTER_LOCK)))
        if connection.execute(copies).first() is not None:
            return None
        row = connection.execute(select(t_host).where(t_host.c.name == name).with_for_update()).first()
        if row is None:
            connection.execute(insert(t_host).values(name=name, **values))
        elif row.installation_id != installation_id and not row.dead:
            return None
        else:
            connection.execute(
                update(t_host).where(t_host.c.name == name).values(beat=t_host.c.beat + 1, **values)
            )
    return incarnation


def beat(database: Database, incarnation: str, info: Mapping[str, Any]) -> bool:
    """Adds one to our counter; False if the fleet takes this incarnation for dead."""
    with database.transaction() as connection:
        beaten = connection.execute(
            update(t_host)
            .where(t_host.c.incarnation == incarnation, t_host.c.dead.is_(False))
            .values(beat=t_host.c.beat + 1, info=json.dumps(info))
        )
        return affected(beaten) == 1


def mark_dead(database: Database, seen: HostRow) -> bool:
    """Marks a host dead whose counter still stands where it was seen; False if it moved after all."""
    with database.transaction() as connection:
        marked = connection.execute(
            update(t_host)
            .where(
                t_host.c.incarnation == seen.incarnation,
                t_host.c.beat == seen.beat,
                t_host.c.dead.is_(False),
            )
            .values(dead=True)
        )
        return affected(marked) == 1


def leave(database: Database, incarnation: str, info: Mapping[str, Any]) -> None:
    """Says that this host has stopped: nobody needs to wait for its beats to expire."""
    stopped = json.dumps({**info, "state": HostState.STOPPED.value})
    with database.transaction() as connection:
        connection.execute(
            update(t_host).where(t_host.c.incarnation == incarnation).values(dead=True, info=stopped)
        )
