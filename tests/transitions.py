"""Triggers that refuse each change of a state which its table does not know, whoever asks for it.

They stand in the database itself, so that a test sees what really happens to a row, however the statement was
built. A row that is new has left the first state of its table, or is still in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from tuned.domain.states import POINT_TRANSITIONS, STUDY_TRANSITIONS, PointState, StudyState

_FUNCTION = """
CREATE FUNCTION refuse_state() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the new state passes its table by'; END $$
"""


def guard(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_FUNCTION)
    _guard(connection, "t_study", {StudyState.OPEN}, STUDY_TRANSITIONS)
    first = {PointState.FREE, *POINT_TRANSITIONS[PointState.FREE]}
    _guard(connection, "t_point", first, POINT_TRANSITIONS)


def _guard(
    connection: Connection, table: str, first: set[Any], transitions: Mapping[Any, frozenset[Any]]
) -> None:
    known = [(now, then) for now, following in transitions.items() for then in {now, *following}]
    pairs = _listed(f"{now}>{then}" for now, then in known)
    is_unknown = {
        "INSERT": f"NEW.state NOT IN ({_listed(first)})",
        "UPDATE": f"OLD.state || '>' || NEW.state NOT IN ({pairs})",
    }
    for event, condition in is_unknown.items():
        head = (
            f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table}"
            f" FOR EACH ROW WHEN ({condition})"
        )
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"{head} EXECUTE FUNCTION refuse_state()")
        else:
            connection.exec_driver_sql(
                f"{head} BEGIN SELECT RAISE(ABORT, 'the new state passes its table by'); END"
            )


def _listed(words: Any) -> str:
    return ", ".join(f"'{word}'" for word in words)
