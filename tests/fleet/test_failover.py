"""A fleet whose primary is lost while it works, and whose standby becomes the primary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fleet.hosts import Fleet, FleetHost, query
from tests.fleet.ledger import Ledger
from tests.fleet.test_forgetting import LINE, is_right, points_with_values
from tests.fleet.test_outages import frozen, until_away
from tests.postgres import PostgresServer, StopMode
from tests.standby import Standby, configure, replicated, url_of
from tests.waiting import until

#: Two servers and two daemons start slowly on a busy machine.
pytestmark = pytest.mark.timeout(200)

GRID = '[space.x]\ntype = "int"\nlow = 0\nhigh = 59\n[sampler]\nname = "grid"\n'


@contextmanager
def working(home: Path, ledger: Ledger, search: str) -> Iterator[tuple[PostgresServer, Standby, Fleet]]:
    """Two hosts amid a search of short trials, on a primary with a standby."""
    with (
        replicated() as (primary, standby),
        Fleet(home, url_of(primary.create_database(), primary, standby)) as fleet,
    ):
        for host in fleet.add(2):
            # As by default: a host that is the last to notice that a server hangs is not dead.
            host.configure(slots=2, host=host.name, expire="60s")
            host.launch()
        for host in fleet.hosts:
            host.until_answering()
        fleet.drop("exp", ledger.objective(pause="echo 0.3") + search)
        until_evaluated(ledger, 8)
        yield primary, standby, fleet


def until_evaluated(ledger: Ledger, count: int) -> None:
    until(lambda: ledger.count() >= count, what=f"{count} evaluations", seconds=60)


def assert_once_each(fleet: Fleet, ledger: Ledger) -> None:
    assert sorted(each.x for each in ledger.evaluations("exp")) == list(range(60))
    assert points_with_values(fleet) == set(range(60))
    assert is_right(fleet)


def is_told_of_both(host: FleetHost, primary: PostgresServer, standby: Standby) -> bool:
    message = str(host.status()["database"]["message"])
    standby_is_none = f"port {standby.port} failed: session is read-only" in message
    return f"port {primary.port} failed: Connection refused" in message and standby_is_none


@pytest.mark.parametrize("mode", ["kill", "immediate"])
def test_a_promotion_of_a_synchronous_standby_loses_nothing_and_repeats_nothing(
    tmp_path: Path, ledger: Ledger, mode: StopMode
) -> None:
    with working(tmp_path, ledger, GRID) as (primary, standby, fleet):
        standby.become_synchronous()
        until_evaluated(ledger, ledger.count() + 8)
        primary.stop(mode)
        until_away(fleet)
        assert ledger.count() < 60
        for host in fleet.hosts:
            until(lambda host=host: is_told_of_both(host, primary, standby), what="the reason of each server")  # type: ignore[misc]
        standby.promote()
        fleet.until_done("exp")
        assert_once_each(fleet, ledger)
        for host in fleet.hosts:
            assert [record["event"] for record in host.logged()].count("database away") == 1


def test_an_asynchronous_standby_is_told_again_what_it_had_not_received(
    tmp_path: Path, ledger: Ledger
) -> None:
    search = LINE + "[budget]\ntrials = 60\n"
    with working(tmp_path, ledger, search) as (primary, standby, fleet):
        standby.cut_off()
        until_evaluated(ledger, ledger.count() + 8)
        told = "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
        known = query(url_of(fleet.storage, standby), told)
        until(lambda: query(fleet.storage, told) > known, what="a result that the standby lacks")
        lost = points_with_values(fleet)
        primary.stop("kill")
        standby.promote()
        fleet.until_done("exp")
        until(lambda: points_with_values(fleet) >= lost, what="the lost results to be told again", seconds=60)
        until(lambda: is_right(fleet), what="values of their own points", seconds=60)


def test_a_primary_that_hangs_is_left_for_the_one_that_was_promoted(tmp_path: Path, ledger: Ledger) -> None:
    with working(tmp_path, ledger, GRID) as (primary, standby, fleet):
        standby.become_synchronous()
        with frozen(primary):
            standby.promote()
            fleet.until_done("exp")
            # Optuna has no limit for a server that hangs.
            fleet.storage = url_of(fleet.storage, standby)
            assert_once_each(fleet, ledger)


def test_a_primary_that_was_made_read_only_is_left_for_the_one_that_was_promoted(
    tmp_path: Path, ledger: Ledger
) -> None:
    with working(tmp_path, ledger, GRID) as (primary, standby, fleet):
        standby.become_synchronous()
        configure(primary, "default_transaction_read_only", "on")
        until_away(fleet)
        standby.promote()
        fleet.until_done("exp")
        assert_once_each(fleet, ledger)
