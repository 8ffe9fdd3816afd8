"""Statements that are built once and run many times, and several of them as one.

Owns how statements are joined and how their values are bound. It knows no table and opens no transaction. It
must never join statements if one needs the result of another, because on PostgreSQL all of them see the
tables as they were before.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Dialect, Insert, Table, TextClause, Update, bindparam, insert, text
from sqlalchemy.dialects.postgresql import psycopg2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

T = TypeVar("T")

#: How many ids one statement has, because databases limit the number of parameters.
BATCH = 500

_POSTGRESQL: Dialect = psycopg2.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that is built once, with the values of this run."""

    clause: Insert | Update
    values: Mapping[str, Any]


def run(connection: Connection, *statements: Statement | None) -> None:
    """Runs statements that do not depend on each other. On PostgreSQL all of them run as one."""
    wanted = [statement for statement in statements if statement is not None]
    if not wanted:
        return
    values = {name: value for statement in wanted for name, value in statement.values.items()}
    clauses = tuple(statement.clause for statement in wanted)
    if connection.dialect.name == "postgresql":
        connection.execute(_as_one(clauses), values)
        return
    for statement in wanted:
        connection.execute(statement.clause, statement.values)


@functools.lru_cache(maxsize=256)
def _as_one(clauses: tuple[Insert | Update, ...]) -> TextClause:
    """As text, because SQLAlchemy would compile an INSERT of several rows anew each time."""
    *others, last = clauses
    clause = last.add_cte(*(clause.cte(f"also_{number}") for number, clause in enumerate(others)))
    compiled = clause.compile(dialect=_POSTGRESQL)
    bound = {name: parameter for parameter, name in compiled.bind_names.items()}
    # A colon that is already in the text, as in `::text`, begins no parameter.
    template = compiled.string.replace(":", r"\:")
    return text(template % {name: f":{name}" for name in bound}).bindparams(
        *(bindparam(name, None if b.required else b.value, type_=b.type) for name, b in bound.items())
    )


def insertion(table: Table, rows: Sequence[Mapping[str, Any]]) -> Statement | None:
    """Adds these rows, which all have the same columns; None without rows."""
    if not rows:
        return None
    values = {bound(table, name, n): value for n, row in enumerate(rows) for name, value in row.items()}
    return Statement(_insert(table, tuple(rows[0]), len(rows)), values)


@functools.lru_cache(maxsize=256)
def _insert(table: Table, columns: tuple[str, ...], count: int) -> Insert:
    return insert(table).values(
        [
            {name: bindparam(bound(table, name, n), type_=table.c[name].type) for name in columns}
            for n in range(count)
        ]
    )


def bound(table: Table, column: str, row: int) -> str:
    """The name under which the value of a row is bound."""
    return f"{table.name}_{column}_{row}"


def batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    """The items in parts, of which each fits into one statement."""
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
