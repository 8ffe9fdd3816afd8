"""SQL functions mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import time

import pytest
from optuna.trial import create_trial
from sqlalchemy import Integer, literal, select, update

from tests.factories import join, make_experiment, plain_optuna
from tuned.storage.database import Database
from tuned.storage.tables.functions import affected, epoch, is_below, next_trial_id
from tuned.storage.tables.schema import t_study


def test_the_time_goes_on_within_a_transaction(database: Database) -> None:
    with database.transaction() as connection:
        first: float = connection.execute(select(epoch())).scalar_one()
        begun = time.monotonic()
        while (then := connection.execute(select(epoch())).scalar_one()) == first:
            assert time.monotonic() - begun < 20
    assert then > first
    assert abs(first - time.time()) < 60


def test_the_next_id_is_above_all_that_optuna_has_given(database: Database) -> None:
    with plain_optuna(database) as study:
        study.add_trials([create_trial(value=1.0)] * 3)
        given = [trial._trial_id for trial in study.trials]
    with database.transaction() as connection:
        assert connection.execute(select(next_trial_id())).scalar_one() == max(given) + 1


@pytest.mark.parametrize(("limit", "expected"), [(None, True), (2, True), (1, False)])
def test_a_count_is_below_its_limit_or_has_none(
    database: Database, limit: int | None, expected: bool
) -> None:
    condition = is_below(literal(1), literal(limit, Integer))
    with database.reading() as connection:
        assert bool(connection.execute(select(condition)).scalar_one()) is expected


def test_rows_that_a_statement_affected_are_counted(database: Database) -> None:
    study_id = join(database, make_experiment()).status.study_id
    with database.transaction() as connection:
        change = update(t_study).values(cursor=1)
        found = [connection.execute(change.where(t_study.c.study_id == each)) for each in (study_id, 999)]
        assert [affected(each) for each in found] == [1, 0]
