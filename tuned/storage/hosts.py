"""Hosts in the database: registering, beats, and marking the dead.

This module never compares the clocks of two hosts. A host adds one to its counter. Each other host notices by
its own monotonic clock if the counter stands still.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, insert, select, type_coerce, update
from sqlalchemy.types import NullType

from tuned.domain.states import HostState, PointState
from tuned.errors import Conflict, NotFound
from tuned.storage.database import Database
from tuned.storage.requests import is_asked
from tuned.storage.tables.functions import affected
from tuned.storage.tables.schema import t_host, t_point
from tuned.storage.trials import adoption

if TYPE_CHECKING:
    from collections.abc import Collection

#: Key of the advisory lock under which hosts register.
REGISTER_LOCK = 0x74756E6565


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInfo:
    """The facts that a host reports. ``t_host`` keeps them as JSON, by the names of the fields."""

    state: HostState = HostState.RUNNING
    slots: int = 0
    gpus: int = 0
    labels: tuple[str, ...] = ()
    #: The time in which it does not work, if that is now: ISO 8601 in UTC.
    off_since: str = ""
    off_until: str = ""
    #: On which experiments it does not work, each with the reason, for people.
    resting: tuple[str, ...] = ()
    version: str = ""
    optuna_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRow:
    """One host in the database."""

    name: str
    installation_id: str
    incarnation: str
    beat: int
    dead: bool
    info: HostInfo = HostInfo()
    #: Which columns of the row cannot be read, for people; empty if all can.
    unreadable: str = ""


class Beat(IntEnum):
    """The finding of a beat."""

    #: This incarnation was declared dead.
    DEAD = 0
    WELL = 1
    #: There is a request for it too.
    ASKED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The new incarnation of a host, and the trials of its earlier one that it has taken over."""

    incarnation: str
    adopted: tuple[adoption.Adopted, ...] = ()


def held(database: Database) -> dict[str, int]:
    """How many points each incarnation of a host holds, one for each of its RUNNING trials."""
    with database.reading() as connection:
        found = connection.execute(
            select(t_point.c.incarnation, func.count().label("points"))
            .where(t_point.c.state == PointState.HELD)
            .group_by(t_point.c.incarnation)
        )
        return {row.incarnation: row.points for row in found}


def hosts(database: Database) -> list[HostRow]:
    """All rows. One that cannot be read is among them, with a word on it."""
    with database.reading() as connection:
        return [_host_row(row) for row in connection.execute(_ROWS)]


#: Without SQLAlchemy's conversions, which fail for all rows if they fail for one.
_ROWS = select(*(type_coerce(column, NullType()).label(column.name) for column in t_host.c)).order_by(
    t_host.c.name
)


def _host_row(row: Any) -> HostRow:
    info = _parsed(row.info)
    readable = {
        "beat": isinstance(row.beat, int),
        "dead": row.dead in (True, False),
        "info": info is not None,
    }
    return HostRow(
        name=str(row.name),
        installation_id=str(row.installation_id),
        incarnation=str(row.incarnation),
        beat=row.beat if readable["beat"] else 0,
        dead=bool(row.dead) if readable["dead"] else False,
        info=info or HostInfo(),
        unreadable=", ".join(column for column, is_readable in readable.items() if not is_readable),
    )


def register(
    database: Database, name: str, installation_id: str, info: HostInfo, kept: Collection[str] = ()
) -> Joined | None:
    """Makes this daemon the host of this name, as a new incarnation.

    Trials of the same installation whose claims are ``kept``, because they still run on it or ended there
    untold, belong to the new incarnation. All other points that an earlier incarnation held are orphans from
    then on. Returns None if another installation has the name, or this one has another name, unless that host
    is dead. Raises DatabaseAway.
    """
    incarnation = uuid.uuid4().hex
    values = {
        "installation_id": installation_id,
        "incarnation": incarnation,
        "dead": False,
        "info": _text(info),
    }
    with database.transaction() as connection:
        study_ids = adoption.lock_studies(connection, kept)
        if database.is_postgresql:
            # Daemons that start at once must see each other's rows. SQLite has one writer anyway.
            connection.execute(select(func.pg_advisory_xact_lock(REGISTER_LOCK)))
        row = connection.execute(select(t_host).where(t_host.c.name == name).with_for_update()).first()
        is_taken = row is not None and row.installation_id != installation_id and not row.dead
        if is_taken or _has_copy(connection, name, installation_id):
            return None
        # Before our row is written, because it still has the earlier incarnation.
        adopted = adoption.take_over(
            connection, kept, study_ids=study_ids, installation_id=installation_id, incarnation=incarnation
        )
        if row is None:
            connection.execute(insert(t_host).values(name=name, **values))
        else:
            connection.execute(
                update(t_host).where(t_host.c.name == name).values(beat=t_host.c.beat + 1, **values)
            )
    return Joined(incarnation=incarnation, adopted=adopted)


def _has_copy(connection: Connection, name: str, installation_id: str) -> bool:
    """Whether this installation lives under another name."""
    copies = select(t_host.c.name).where(
        t_host.c.installation_id == installation_id, t_host.c.name != name, t_host.c.dead.is_(False)
    )
    return connection.execute(copies).first() is not None


def beat(database: Database, incarnation: str, info: HostInfo) -> Beat:
    """Adds one to our counter."""
    with database.transaction() as connection:
        beaten = connection.execute(
            update(t_host)
            .where(t_host.c.incarnation == incarnation, t_host.c.dead.is_(False))
            .values(beat=t_host.c.beat + 1, info=_text(info))
            .returning(is_asked(incarnation).label("is_asked"))
        ).first()
    if beaten is None:
        return Beat.DEAD
    return Beat.ASKED if beaten.is_asked else Beat.WELL


def mark_dead(database: Database, seen: HostRow) -> bool:
    """Marks a host dead if its counter has not moved since it was seen. Returns False if it has."""
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


def leave(database: Database, incarnation: str, info: HostInfo) -> None:
    """Marks this host as stopped, so that no other host waits for its beats to expire."""
    stopped = _text(replace(info, state=HostState.STOPPED))
    with database.transaction() as connection:
        connection.execute(
            update(t_host).where(t_host.c.incarnation == incarnation).values(dead=True, info=stopped)
        )


def forget(database: Database, name: str) -> None:
    """Removes a host that is dead or has stopped. Its trials stay; those that nobody settled stay orphans.

    Raises NotFound, Conflict if it lives, DatabaseAway.
    """
    with database.transaction() as connection:
        row = connection.execute(select(t_host.c.dead).where(t_host.c.name == name).with_for_update()).first()
        if row is None:
            raise NotFound(f"cannot forget host {name}: there is none of this name")
        if not row.dead:
            remedy = "stop its daemon first, or wait until the others find it dead: tunectl hosts"
            raise Conflict(f"cannot forget host {name}: it is alive; {remedy}")
        connection.execute(delete(t_host).where(t_host.c.name == name))


def _text(info: HostInfo) -> str:
    return json.dumps(asdict(info))


def _parsed(text: object) -> HostInfo | None:
    """None if it is no JSON object. A missing or odd field has its default: another version may write it."""
    try:
        said = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    known = {field.name: _value(said.get(field.name), field.default) for field in fields(HostInfo)}
    return HostInfo(**known)


def _value(said: Any, default: Any) -> Any:
    """The reported value if it has the type of the default, and the default otherwise."""
    if isinstance(default, tuple):
        return tuple(each for each in said if isinstance(each, str)) if isinstance(said, list) else default
    if isinstance(default, HostState):
        return HostState(said) if isinstance(said, str) and said in set(HostState) else default
    return said if type(said) is type(default) else default
