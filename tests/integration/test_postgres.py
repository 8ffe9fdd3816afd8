"""The tests' own PostgreSQL server does what the tests rely on."""

from __future__ import annotations

import psycopg2
import pytest
import sqlalchemy

from tests.postgres import PostgresServer, StopMode


def execute(url: str, statement: str) -> list[int]:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        result = connection.execute(sqlalchemy.text(statement))
        return list(result.scalars()) if result.returns_rows else []


def test_a_database_is_empty_and_writable(database_url: str) -> None:
    execute(database_url, "CREATE TABLE t (a integer)")
    execute(database_url, "INSERT INTO t VALUES (1)")
    assert execute(database_url, "SELECT a FROM t") == [1]


def test_a_table_of_one_test_is_not_there_in_the_next(database_url: str) -> None:
    execute(database_url, "CREATE TABLE t (a integer)")
    assert execute(database_url, "SELECT a FROM t") == []


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_data_outlives_a_restart(postgres: PostgresServer, mode: StopMode) -> None:
    url = postgres.create_database()
    execute(url, "CREATE TABLE t AS SELECT 7 AS a")
    postgres.restart(mode)
    assert execute(url, "SELECT a FROM t") == [7]


def test_a_stopped_server_refuses_connections(postgres: PostgresServer) -> None:
    postgres.stop()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(postgres.url().replace("+psycopg2", ""))
