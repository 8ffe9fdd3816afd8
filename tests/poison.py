"""Values that no program of ours writes, in each column of our tables in turn."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, select, text
from sqlalchemy.exc import DBAPIError

from tuned.storage.database import Database
from tuned.storage.tables.schema import (
    metadata,
    t_file,
    t_notice,
    t_output,
    t_point,
    t_revision,
    t_study,
    t_study_code,
    t_trial,
    trials,
)

POISONS: Mapping[type, Sequence[object]] = {
    int: (-1, 2**31 - 1),
    str: ("wat", "{oops"),
    float: (-1.0, math.nan),
    bool: (True, False),
    bytes: (b"wat", b""),
}

#: SQLite keeps any value in any column.
ANYTHING = ("wat", b"\xff\x00")


@dataclass(frozen=True, kw_only=True)
class Poison:
    """A value for a column of one row."""

    column: Column[Any]
    value: object

    def __str__(self) -> str:
        return f"{self.column} = {self.value!r}"


def poisons(database: Database) -> Iterator[Poison]:
    for table in metadata.sorted_tables:
        for column in table.columns:
            values = [*POISONS[column.type.python_type]]
            values += [None] if column.nullable else []
            values += [] if database.is_postgresql else ANYTHING
            yield from (Poison(column=column, value=value) for value in values)


@contextlib.contextmanager
def poisoned(database: Database, poison: Poison, study_id: int) -> Iterator[bool]:
    """While a row of the study, or the first of another table, is poisoned; false if that is refused."""
    table, name = poison.column.table, poison.column.name
    found = select(*table.c)
    if table in (t_study, t_study_code, t_file, t_notice, t_output, t_point, t_revision):
        found = found.where(table.c.study_id == study_id)
    elif table is t_trial:
        found = found.join(trials, trials.c.trial_id == t_trial.c.trial_id)
        found = found.where(trials.c.study_id == study_id)
    keys = [column.name for column in table.primary_key]
    with database.reading() as connection:
        row = connection.execute(found.order_by(*(table.c[key] for key in keys)).limit(1)).one()
    before = {key: getattr(row, key) for key in keys}
    after = {**before, **({name: poison.value} if name in keys else {})}
    is_taken = _set(database, table.name, name, poison.value, before)
    try:
        yield is_taken
    finally:
        if is_taken:
            _set(database, table.name, name, getattr(row, name), after)


def _set(database: Database, table: str, column: str, value: object, where: Mapping[str, object]) -> bool:
    # As text, so that no type of the model changes the value.
    which = " AND ".join(f"{key} = :of_{key}" for key in where)
    statement = text(f"UPDATE {table} SET {column} = :value WHERE {which}")
    bound = {"value": value, **{f"of_{key}": of for key, of in where.items()}}
    try:
        with database.transaction() as connection:
            connection.execute(statement, bound)
    except DBAPIError:
        return False
    return True
