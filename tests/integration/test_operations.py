"""What operators ask of the database, and what they change in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.factories import join, kill, make_experiment, make_holder, opened
from tuned import hosts
from tuned.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


# Hosts


def test_what_each_host_holds_is_counted_by_its_incarnation(database: Database) -> None:
    one, other = (join(database, make_experiment(), host) for host in ("h1", "h2"))
    for x in range(3):
        one.take(x)
    other.take(5)
    other.evaluate(6, 0.5)
    assert hosts.held(database) == {one.holder.incarnation: 3, other.holder.incarnation: 1}


def test_who_says_goodbye_has_stopped_and_who_is_found_dead_has_not(database: Database) -> None:
    stopped, dead = (make_holder(database, host) for host in ("h1", "h2"))
    hosts.leave(database, stopped.incarnation, {"state": "draining", "slots": 2})
    kill(database, dead)
    rows = {row.name: row for row in hosts.hosts(database)}
    assert (rows["h1"].dead, rows["h1"].info) == (True, {"state": "stopped", "slots": 2})
    assert (rows["h2"].dead, rows["h2"].info) == (True, {})
