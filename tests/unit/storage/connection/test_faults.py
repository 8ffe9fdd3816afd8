"""Each class of errors is the database's or the call's, and the database's come with advice."""

from __future__ import annotations

import sqlite3

import psycopg2
import pytest
from psycopg2 import errorcodes
from sqlalchemy.exc import DBAPIError

from tuned.storage.connection.faults import SQLSTATES, away

CLASSES = sorted(code for name, code in vars(errorcodes).items() if name.startswith("CLASS_"))


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


def found(error: Exception) -> str | None:
    judged = away(DBAPIError("SELECT 1", None, error))
    return None if judged is None else judged.remedy


@pytest.mark.parametrize("code", CLASSES)
def test_each_class_of_postgresql_is_decided(code: str) -> None:
    assert code in SQLSTATES


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_FULL, "make room"),
        (sqlite3.SQLITE_BUSY, "lock"),
        (sqlite3.SQLITE_IOERR_WRITE, "backup"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "takes no writes"),
        (sqlite3.SQLITE_NOTADB, "-wal"),
        (sqlite3.SQLITE_CORRUPT, "-wal"),
        (sqlite3.SQLITE_ERROR, None),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, None),
    ],
)
def test_an_error_of_sqlite_is_judged_by_its_code(code: int, advice: str | None) -> None:
    remedy = found(sqlite_error(code))
    assert remedy is None if advice is None else advice in str(remedy)


def test_without_a_code_the_driver_complains_about_the_call_or_has_lost_the_server() -> None:
    assert found(psycopg2.ProgrammingError("can't adapt type 'object'")) is None
    assert found(psycopg2.InterfaceError("connection already closed"))
    assert found(psycopg2.DatabaseError("error with status PGRES_TUPLES_OK and no message from the libpq"))
    refused = psycopg2.OperationalError('password authentication failed for user "tuned"')
    assert "restart the daemon" in str(found(refused))


def test_of_several_hosts_each_is_told_and_a_standby_takes_no_writes() -> None:
    down = 'connection to server at "h1", port 1 failed: Connection refused'
    standby = 'connection to server at "h2", port 2 failed: session is read-only'
    error = psycopg2.OperationalError(f"{down}\n\tIs the server running on that host?\n{standby}\n")
    judged = away(DBAPIError("SELECT 1", None, error))
    assert str(judged) == f"the database takes no writes: {down}; {standby}"
