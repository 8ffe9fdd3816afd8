"""Holds the rows of a table to the types of its columns.

SQLite keeps any value in any column, and a person may write one. This module must never change a row.
"""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import Row, Table


def require_typed(row: Row[Any], table: Table) -> None:
    """Raises ValueError that names the first column whose value is not of the column's type."""
    for column in table.columns:
        value = getattr(row, column.name)
        if value is None and column.nullable:
            continue
        if not _is_of(value, column.type.python_type):
            raise ValueError(f"{table.name}.{column.name} is {value!r}")


def _is_of(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return type(value) is kind
