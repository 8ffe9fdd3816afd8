"""SQL functions that SQLite and PostgreSQL spell differently, and small conditions that several rooms use.

Owns expressions only; it must never run a statement.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Float, Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


class epoch(GenericFunction[float]):  # noqa: N801 (SQL functions are written in lower case)
    """The time in seconds since 1970, by the database's clock."""

    type = Float(53)
    inherit_cache = True


@compiles(epoch, "postgresql")
def _epoch_postgresql(*_: Any, **__: Any) -> str:
    # Not now(): that is when the transaction began, maybe long before it got the lock.
    return "extract(epoch FROM clock_timestamp())::double precision"


@compiles(epoch, "sqlite")
def _epoch_sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class next_trial_id(GenericFunction[int]):  # noqa: N801
    """The id that a new trial gets. Callers hold its study's lock."""

    type = Integer()
    inherit_cache = True


@compiles(next_trial_id, "postgresql")
def _next_postgresql(*_: Any, **__: Any) -> str:
    return "nextval(pg_get_serial_sequence('trials', 'trial_id'))"


@compiles(next_trial_id, "sqlite")
def _next_sqlite(*_: Any, **__: Any) -> str:
    # SQLite itself does the same if a column is not AUTOINCREMENT.
    return "(SELECT coalesce(max(trial_id), 0) + 1 FROM trials)"


def affected(result: Any) -> int:
    """How many rows an UPDATE, INSERT or DELETE affected."""
    return int(result.rowcount)


def is_below(count: ColumnElement[int], limit: ColumnElement[int]) -> ColumnElement[bool]:
    return limit.is_(None) | (count < limit)
