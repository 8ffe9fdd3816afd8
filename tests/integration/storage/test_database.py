"""Transactions commit, roll back, lock a study's row, and say in one way that the database is away."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import Table, func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.factories import join, make_experiment, opened
from tests.fleet.hosts import query
from tests.integration.storage.steps import delete_by_optuna
from tests.postgres import PostgresServer
from tests.waiting import until
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
def test_a_study_is_locked_by_one_transaction_at_a_time(prepared_url: str, table: Table) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second, ThreadPoolExecutor(1) as threads:
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


def test_a_reader_does_not_wait_for_a_writer(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second, first.transaction() as connection:
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


#: Raised by the server itself, as a trigger or a broken disk makes it do.
RAISED = "DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{code}'; END $$"


def test_errors_of_the_database_are_waited_for_and_those_of_a_call_are_raised_through(
    postgresql_url: str,
) -> None:
    databases = ["08006", "25006", "25P03", "28P01", "40001", "42501", "53100", "55P03", "57014", "58030"]
    calls = ["0A000", "22003", "23505", "42P01", "42883", "54001", "P0001"]
    with opened(postgresql_url) as database:
        for code in (*databases, "XX001", *calls):
            expected: type[Exception] = DBAPIError if code in calls else DatabaseAway
            with pytest.raises(expected, match="as told"), database.transaction() as connection:
                connection.execute(text(RAISED.format(code=code)))


def test_a_server_that_takes_no_writes_is_away_in_its_own_words(postgres: PostgresServer) -> None:
    with closing(Database(postgres.create_database())) as database:
        database.prepare()
        query(database.url, "ALTER SYSTEM SET default_transaction_read_only = on")
        query(database.url, "SELECT pg_reload_conf()")
        until(lambda: query(database.url, "SHOW transaction_read_only") == [("on",)], what="the reload")
        with pytest.raises(DatabaseAway, match=r"takes no writes: .*read-only transaction"):
            database.ping()
        with database.reading() as connection:
            assert connection.execute(select(t_meta.c.name)).scalars().all() == ["version"]


def test_a_database_whose_tables_are_gone_is_away(sqlite_url: str) -> None:
    with closing(Database(sqlite_url)) as database:
        database.prepare()
        database.ping()
        with database.transaction() as connection:
            connection.execute(text("DROP TABLE t_meta"))
        with pytest.raises(DatabaseAway, match="no such table"):
            database.ping()


def write_in_vain(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(update(t_meta).values(value="9"))
        raise ZeroDivisionError


def test_a_read_leaves_its_connection_as_it_was(postgresql_url: str) -> None:
    with opened(postgresql_url) as database:
        for _ in range(2):
            with database.reading() as connection:
                connection.execute(select(t_meta.c.name))
            with pytest.raises(ZeroDivisionError):
                write_in_vain(database)
        with database.reading() as connection:
            assert connection.execute(select(t_meta.c.value)).scalar_one() == "1"
