"""A row is held to the types of its table's columns."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, text

from tests.factories import join, make_experiment, opened
from tuned.storage.tables.schema import t_study
from tuned.storage.tables.typed import require_typed


@pytest.mark.parametrize(
    ("value", "problem"),
    [("'wat'", "'wat'"), ("1.5", "1.5"), ("x'ff'", "b'.xff'"), ("7", None)],
)
def test_a_value_of_another_type_is_refused_with_its_column(
    sqlite_url: str, value: str, problem: str | None
) -> None:
    with opened(sqlite_url) as database:
        join(database, make_experiment())
        with database.transaction() as connection:
            connection.execute(text(f"UPDATE t_study SET seed = {value}"))
            row: Any = connection.execute(select(t_study)).one()
        if problem is None:
            require_typed(row, t_study)
        else:
            with pytest.raises(ValueError, match=f"t_study.seed is {problem}"):
                require_typed(row, t_study)
