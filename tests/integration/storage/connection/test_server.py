"""Connections to several hosts of which some hang, and to a server that hangs behind one that answers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import make_url

from tests.fleet.hosts import query
from tests.fleet.test_outages import frozen
from tests.pgbouncer import PROGRAM, pgbouncer
from tests.postgres import PostgresServer
from tests.standby import configure, replicated, url_of
from tests.waiting import until
from tuned.config.storage_url import normalised
from tuned.errors import DatabaseAway
from tuned.storage.connection.server import Server
from tuned.storage.database import Database


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_host_that_takes_connections_and_is_silent_is_passed_over(
    silent: int, postgres: PostgresServer
) -> None:
    hosts = f"127.0.0.1:{silent},127.0.0.1:{postgres.port}"
    with closing(Database(normalised(f"postgresql://postgres@{hosts}/postgres"))) as database:
        # Optuna makes its tables on connections of its own.
        began = time.monotonic()
        database.prepare()
        database.ping()
        assert time.monotonic() - began < 30


def test_a_server_that_never_answers_is_away(silent: int) -> None:
    began = time.monotonic()
    with (
        closing(Database(f"postgresql+psycopg2://u@127.0.0.1:{silent}/d")) as database,
        pytest.raises(DatabaseAway, match=r"the database does not answer: .*timeout expired"),
    ):
        database.prepare()
    assert time.monotonic() - began < 15


@pytest.mark.skipif(PROGRAM is None and "CI" not in os.environ, reason="pgbouncer is not installed")
def test_the_first_statement_of_a_connection_is_cut_too(postgres: PostgresServer) -> None:
    with pgbouncer(postgres.url()) as pooled, closing(Database(pooled)) as database:
        # The pooler lets clients in by itself once it has met the server.
        query(pooled, "SELECT 1")
        with ThreadPoolExecutor(1) as threads, frozen(postgres):
            hanging = threads.submit(database.ping)
            until(lambda: has_ended(hanging, database), what="the statement to end", seconds=30)
            assert isinstance(hanging.exception(), DatabaseAway)


def has_ended(hanging: Future[None], database: Database) -> bool:
    database.cut()
    return hanging.done()


def test_all_connections_lead_to_the_host_that_was_reached_last_and_stay_with_it() -> None:
    with replicated() as (primary, standby):
        server = Server(make_url(url_of(primary.url(), primary, standby)))
        with closing(server.connect()) as first:
            with frozen(primary):
                standby.promote()
                with closing(server.connect()) as second:
                    assert second.info.port == standby.port
                with pytest.raises(psycopg2.OperationalError):
                    first.cursor().execute("SELECT 1")
            # The old primary is there again, and takes writes.
            with closing(server.connect()) as third:
                assert third.info.port == standby.port


def test_a_primary_that_takes_no_writes_any_more_is_left_for_the_one_that_was_promoted() -> None:
    with (
        replicated() as (primary, standby),
        closing(Database(url_of(primary.url(), primary, standby))) as database,
    ):
        database.prepare()
        standby.become_synchronous()
        configure(primary, "default_transaction_read_only", "on")
        for _ in range(2):
            with pytest.raises(DatabaseAway, match="takes no writes"):
                database.ping()
        standby.promote()
        database.ping()
