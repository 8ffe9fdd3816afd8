"""SQL functions that SQLite and PostgreSQL spell differently, and small conditions that several rooms use.

Owns expressions only; it must never run a statement.
"""

from __future__ import annotations

from typing import Any

from optuna.trial import TrialState
from sqlalchemy import ColumnElement, Float, Integer, ScalarSelect, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from tuned.storage.tables.schema import t_study, trials


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


def trials_in(state: TrialState) -> ScalarSelect[int]:
    """How many trials in this state a row of ``t_study`` has now, whoever made them."""
    mine = (trials.c.study_id == t_study.c.study_id) & (trials.c.state == state)
    return select(func.count()).select_from(trials).where(mine).scalar_subquery()


def all_trials() -> ColumnElement[int]:
    """How many trials a row of ``t_study`` has in all. An index finds it, however many there are."""
    mine = select(trials.c.number).where(trials.c.study_id == t_study.c.study_id)
    # Numbers are in the order of ids, without gaps.
    last = mine.order_by(trials.c.trial_id.desc()).limit(1)
    return func.coalesce(last.scalar_subquery(), -1) + 1
