"""Statements that are built once and run many times, and several of them as one.

Owns how statements are joined, how their text is kept, and how their values are bound. It knows no table and
opens no transaction. It must never join statements if one needs the result of another, because on PostgreSQL
all of them see the tables as they were before.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    BindParameter,
    Connection,
    Delete,
    Dialect,
    Insert,
    Row,
    Select,
    Table,
    Update,
    bindparam,
    insert,
)
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.dialects.sqlite import pysqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

T = TypeVar("T")

#: How many ids one statement has, because databases limit the number of parameters.
BATCH = 500

_DIALECTS: dict[str, Dialect] = {
    "postgresql": psycopg2.dialect(),  # type: ignore[no-untyped-call]
    "sqlite": pysqlite.dialect(),
}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that is built once, with the values of this run."""

    clause: Insert | Update | Delete
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """A statement as the driver takes it. Most of the time of a short one goes into making it that."""

    text: str
    #: The names of its values in their order, if that is what tells them apart.
    names: tuple[str, ...] | None
    #: The values that nobody gives, by name.
    constants: Mapping[str, Any]
    #: By name: makes of a value the one that the driver takes.
    conversions: tuple[tuple[str, Callable[[Any], Any]], ...]

    def values(self, given: Mapping[str, Any]) -> tuple[Any, ...] | dict[str, Any]:
        values = {**self.constants, **given}
        for name, convert in self.conversions:
            values[name] = convert(values[name])
        return values if self.names is None else tuple([values[name] for name in self.names])


def run(connection: Connection, *statements: Statement | None) -> None:
    """Runs statements that do not depend on each other. On PostgreSQL all of them run as one."""
    wanted = [statement for statement in statements if statement is not None]
    if not wanted:
        return
    if connection.dialect.name == "postgresql":
        values = {name: value for statement in wanted for name, value in statement.values.items()}
        _execute(connection, tuple(statement.clause for statement in wanted), values)
        return
    for statement in wanted:
        _execute(connection, (statement.clause,), statement.values)


def first(connection: Connection, clause: Select[Any] | Update, values: Mapping[str, Any]) -> Row[Any] | None:
    """Runs a statement that is built once, and returns its first row as the driver gives it.

    For columns whose values are the same in the driver's words and in SQLAlchemy's: numbers and texts.
    """
    text = _text(connection.dialect.name, (clause,))
    return connection.exec_driver_sql(text.text, text.values(values)).first()


def _execute(
    connection: Connection, clauses: tuple[Insert | Update | Delete, ...], values: Mapping[str, Any]
) -> None:
    text = _text(connection.dialect.name, clauses)
    connection.exec_driver_sql(text.text, text.values(values))


@functools.lru_cache(maxsize=256)
def _text(dialect_name: str, clauses: tuple[Any, ...]) -> _Text:
    """As text: SQLAlchemy looks for the one that it has by all parts of a statement.

    An INSERT of several rows it even makes anew each time.
    """
    *others, last = clauses
    clause = last
    if others:
        clause = last.add_cte(*(each.cte(f"also_{number}") for number, each in enumerate(others)))
    dialect = _DIALECTS[dialect_name]
    compiled: Any = clause.compile(dialect=dialect)
    binds = compiled.binds
    converted = {name: _conversion(parameter, dialect) for name, parameter in binds.items()}
    return _Text(
        text=compiled.string,
        names=tuple(compiled.positiontup) if compiled.positional else None,
        constants={name: bind.effective_value for name, bind in binds.items() if not bind.required},
        conversions=tuple((name, convert) for name, convert in converted.items() if convert is not None),
    )


def _conversion(parameter: BindParameter[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    return parameter.type.dialect_impl(dialect).bind_processor(dialect)


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
