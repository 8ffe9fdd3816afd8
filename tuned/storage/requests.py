"""Requests of people to a host other than the one whose socket they use, by way of the database.

A request is for one incarnation of its host: the next one never sees it. It expires by the database's own
clock, and only one of two may have it: the host that takes it, or the one that withdraws it. So it is obeyed
at most once, and never after its person was told that nobody obeys.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, exists, insert, select, update

from tuned.errors import Conflict, NotFound
from tuned.storage.tables.functions import epoch
from tuned.storage.tables.schema import t_host, t_request

if TYPE_CHECKING:
    from tuned.domain.states import HostCommand
    from tuned.storage.database import Database

#: One whose asker has died is kept for so long.
KEPT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was made."""

    request_id: str
    host: str
    #: Of the host at that time.
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as its host gets it."""

    request_id: str
    command: str
    user: str
    #: Whose socket the person used.
    asked_on: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How far a request is."""

    is_seen: bool = False
    #: The host's state after it was obeyed; empty before.
    state: str = ""
    #: Why the host did not obey; empty if it did or has not decided.
    refusal: str = ""
    #: Another incarnation has the host now, or it has ended.
    is_gone: bool = False


def is_asked(incarnation: str) -> ColumnElement[bool]:
    """Whether there is a request for this incarnation, as a part of a statement that is made anyway."""
    # By a value: SQLite's RETURNING has no names of tables.
    return exists().where(t_request.c.incarnation == incarnation, t_request.c.seen.is_(False))


def ask(
    database: Database, host: str, command: HostCommand, *, user: str, asked_on: str, seconds: float
) -> Asked:
    """Asks a host, which may take it within so many seconds. Raises NotFound, Conflict if it is dead."""
    with database.transaction() as connection:
        row = connection.execute(
            select(t_host.c.incarnation, t_host.c.dead).where(t_host.c.name == host)
        ).first()
        if row is None:
            raise NotFound(f"cannot {command} host {host}: there is none of this name; see: tunectl hosts")
        if row.dead:
            raise Conflict(f"cannot {command} host {host}: it is dead or has stopped; see: tunectl hosts")
        connection.execute(delete(t_request).where(t_request.c.expires < epoch() - KEPT_SECONDS))
        asked = Asked(request_id=uuid.uuid4().hex, host=host, incarnation=row.incarnation)
        connection.execute(
            insert(t_request).values(
                request_id=asked.request_id,
                incarnation=asked.incarnation,
                command=command,
                user_name=user[:256],
                host=asked_on,
                expires=epoch() + seconds,
            )
        )
    return asked


def take(database: Database, incarnation: str) -> list[Request]:
    """The requests for us that nobody has taken and that have not expired; they are ours from then on."""
    with database.transaction() as connection:
        rows = connection.execute(
            update(t_request)
            .where(
                t_request.c.incarnation == incarnation,
                t_request.c.seen.is_(False),
                t_request.c.expires >= epoch(),
            )
            .values(seen=True)
            .returning(t_request)
        ).all()
        # Nobody waits for those that have expired, and the beat would find them again and again.
        expired = delete(t_request).where(
            t_request.c.incarnation == incarnation, t_request.c.seen.is_(False), t_request.c.expires < epoch()
        )
        connection.execute(expired)
    return [
        Request(request_id=row.request_id, command=row.command, user=row.user_name, asked_on=row.host)
        for row in sorted(rows, key=lambda row: row.expires)
    ]


def answer(database: Database, request_id: str, *, state: str = "", refusal: str = "") -> None:
    """Tells the one who asked what became of a request that we took."""
    with database.transaction() as connection:
        mine = t_request.c.request_id == request_id
        connection.execute(update(t_request).where(mine).values(state=state, refusal=refusal))


def look(database: Database, asked: Asked) -> Reply:
    """How far it is."""
    with database.reading() as connection:
        row = connection.execute(
            select(t_request.c.seen, t_request.c.state, t_request.c.refusal).where(
                t_request.c.request_id == asked.request_id
            )
        ).first()
        living = select(t_host.c.name).where(
            t_host.c.incarnation == asked.incarnation, t_host.c.dead.is_(False)
        )
        is_gone = connection.execute(living).first() is None
    if row is None:
        return Reply(is_gone=is_gone)
    return Reply(is_seen=row.seen, state=row.state, refusal=row.refusal, is_gone=is_gone)


def withdraw(database: Database, asked: Asked) -> bool:
    """Takes a request back; False if its host has it already."""
    mine = t_request.c.request_id == asked.request_id
    with database.transaction() as connection:
        connection.execute(delete(t_request).where(mine, t_request.c.seen.is_(False)))
        # One that has expired may be gone already: its host has removed it.
        return connection.execute(select(t_request.c.seen).where(mine)).first() is None


def forget(database: Database, asked: Asked) -> None:
    """Removes a request whose reply has come."""
    with database.transaction() as connection:
        connection.execute(delete(t_request).where(t_request.c.request_id == asked.request_id))
