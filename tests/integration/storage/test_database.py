"""Transactions commit, roll back, lock a study's row, and say in one way that the database is away."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Table, func, select, update
from sqlalchemy.exc import IntegrityError

from tests.factories import join, make_experiment, opened
from tests.integration.storage.steps import delete_by_optuna
from tests.postgres import PostgresServer
from tuned.errors import DatabaseAway, NotFound
from tuned.storage.database import Database
from tuned.storage.tables.schema import studies, t_meta, t_study


def test_an_error_of_ours_rolls_back_and_does_not_mean_that_the_database_is_away(database: Database) -> None:
    mine = t_meta.insert().values(name="mine", value="1")

    def write_twice() -> None:
        with database.transaction() as connection:
            connection.execute(mine)
            connection.execute(mine)

    with pytest.raises(IntegrityError):
        write_twice()
    with database.reading() as connection:
        assert connection.execute(select(t_meta.c.name)).scalars().all() == ["version"]


@pytest.mark.parametrize("table", [studies, t_study], ids=lambda table: table.name)
def test_a_study_is_locked_by_one_transaction_at_a_time(database_url: str, table: Table) -> None:
    with opened(database_url) as first, opened(database_url) as second, ThreadPoolExecutor(1) as threads:
        study_id = join(first, make_experiment()).status.study_id
        began = threading.Event()

        def read_locked() -> int:
            began.set()
            with second.locking(table, study_id) as connection:
                cursor: int = connection.execute(select(t_study.c.cursor)).scalar_one()
            return cursor

        with first.locking(table, study_id) as connection:
            answer = threads.submit(read_locked)
            assert began.wait(20)
            connection.execute(update(t_study).values(cursor=7))
        assert answer.result(20) == 7


def test_the_row_of_a_deleted_study_cannot_be_locked(database: Database) -> None:
    study_id = join(database, make_experiment()).status.study_id
    delete_by_optuna(database)
    for table in (studies, t_study):
        with pytest.raises(NotFound, match="no longer in the database"), database.locking(table, study_id):
            pass


def test_a_reader_does_not_wait_for_a_writer(database_url: str) -> None:
    with opened(database_url) as first, opened(database_url) as second, first.transaction() as connection:
        connection.execute(update(t_meta).values(value="9"))
        with second.reading() as reader:
            assert reader.execute(select(t_meta.c.value)).scalar_one() == "1"


def test_a_server_that_stopped_is_away_and_the_same_database_answers_when_it_is_back(
    postgres: PostgresServer,
) -> None:
    with opened(postgres.create_database()) as database:
        postgres.stop()
        for _ in range(2):
            with pytest.raises(DatabaseAway, match="the database does not answer: "):
                database.ping()
        postgres.start()
        database.ping()


def test_a_statement_that_hangs_ends_when_its_connection_is_cut(postgresql_url: str) -> None:
    with opened(postgresql_url) as database, ThreadPoolExecutor(1) as threads:
        began = threading.Event()

        def hang() -> None:
            with database.reading() as connection:
                began.set()
                connection.execute(select(func.pg_sleep(60)))

        hanging = threads.submit(hang)
        assert began.wait(20)
        database.cut()
        with pytest.raises(DatabaseAway):
            hanging.result(20)
