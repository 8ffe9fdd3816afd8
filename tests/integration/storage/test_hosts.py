"""Hosts in the database: who has a name, who beats, who is dead."""

from __future__ import annotations

import functools

import pytest
from sqlalchemy import update

from tests.factories import at_once, join, kill, make_experiment, opened
from tuned.domain.states import HostState
from tuned.errors import Conflict, NotFound
from tuned.storage import hosts
from tuned.storage.database import Database
from tuned.storage.tables.schema import t_host
from tuned.storage.trials.settling import orphaned_studies


def row(database: Database, name: str = "h1") -> hosts.HostRow:
    [found] = [row for row in hosts.hosts(database) if row.name == name]
    return found


def register(database: Database, name: str = "h1", installation_id: str = "one") -> str:
    joined = hosts.register(database, name, installation_id, hosts.HostInfo(slots=2))
    assert joined is not None
    return joined.incarnation


def bury(database: Database, name: str = "h1") -> None:
    assert hosts.mark_dead(database, row(database, name))


def test_a_new_host_lives_and_says_what_it_is(database: Database) -> None:
    incarnation = register(database)
    expected = hosts.HostRow(
        name="h1",
        installation_id="one",
        incarnation=incarnation,
        beat=0,
        dead=False,
        info=hosts.HostInfo(slots=2),
    )
    assert hosts.hosts(database) == [expected]


def test_the_same_installation_again_is_a_new_incarnation_whether_dead_or_alive(database: Database) -> None:
    incarnations = [register(database), register(database)]
    bury(database)
    incarnations.append(register(database))
    assert len(set(incarnations)) == 3
    assert (row(database).incarnation, row(database).dead) == (incarnations[-1], False)


def test_a_name_of_another_installation_is_taken_while_that_is_not_known_to_be_dead(
    database: Database,
) -> None:
    incarnation = register(database)
    assert hosts.register(database, "h1", "two", hosts.HostInfo()) is None
    assert row(database).incarnation == incarnation
    bury(database)
    assert register(database, installation_id="two") == row(database).incarnation
    assert hosts.register(database, "h1", "one", hosts.HostInfo()) is None


def test_an_installation_has_one_name_while_it_is_not_known_to_be_dead(database: Database) -> None:
    register(database)
    assert hosts.register(database, "h2", "one", hosts.HostInfo()) is None
    bury(database)
    register(database, "h2")


def test_of_installations_that_take_a_name_at_once_one_gets_it(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        for number in range(3):
            calls = [
                functools.partial(hosts.register, db, f"h{number}", f"{number}-{n}", hosts.HostInfo())
                for n, db in enumerate([first, second] * 2)
            ]
            incarnations = [found.incarnation for found in at_once(*calls) if found is not None]
            assert incarnations == [row(first, f"h{number}").incarnation]


def test_of_copies_of_an_installation_that_take_names_at_once_one_gets_its_name(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        for number in range(3):
            calls = [
                functools.partial(hosts.register, db, f"h{number}-{n}", f"{number}", hosts.HostInfo())
                for n, db in enumerate([first, second] * 2)
            ]
            assert [found is not None for found in at_once(*calls)].count(True) == 1


def test_a_beat_adds_one_and_says_anew_what_the_host_is(database: Database) -> None:
    incarnation = register(database)
    register(database, "h2", "two")
    before = row(database, "h2")
    for count in (1, 2):
        assert hosts.beat(database, incarnation, hosts.HostInfo(slots=count))
        assert (row(database).beat, row(database).info) == (count, hosts.HostInfo(slots=count))
    assert row(database, "h2") == before


def test_beats_of_a_dead_or_replaced_incarnation_change_nothing(database: Database) -> None:
    replaced, dead = register(database), register(database)
    assert not hosts.beat(database, replaced, hosts.HostInfo())
    bury(database)
    before = row(database)
    assert not hosts.beat(database, dead, hosts.HostInfo())
    assert row(database) == before


def test_who_moved_since_it_was_seen_is_not_marked_dead(database: Database) -> None:
    incarnation = register(database)
    seen = row(database)
    hosts.beat(database, incarnation, hosts.HostInfo())
    assert not hosts.mark_dead(database, seen)
    seen = row(database)
    register(database)
    assert not hosts.mark_dead(database, seen)
    assert row(database).dead is False


def test_of_those_who_find_a_host_dead_at_once_one_has_marked_it(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        register(first)
        seen = row(first)
        marked = at_once(*(functools.partial(hosts.mark_dead, db, seen) for db in [first, second] * 2))
        assert sorted(marked) == [False, False, False, True]


def test_who_leaves_is_dead_at_once_and_says_that_it_stopped(database: Database) -> None:
    incarnation = register(database)
    hosts.leave(database, incarnation, hosts.HostInfo(state=HostState.DRAINING, slots=2))
    assert (row(database).dead, row(database).info) == (
        True,
        hosts.HostInfo(state=HostState.STOPPED, slots=2),
    )
    assert not hosts.beat(database, incarnation, hosts.HostInfo())
    register(database, installation_id="two")


def test_who_was_replaced_takes_nobody_along_when_it_leaves(database: Database) -> None:
    replaced, incarnation = register(database), register(database)
    hosts.leave(database, replaced, hosts.HostInfo())
    assert (row(database).incarnation, row(database).dead) == (incarnation, False)


@pytest.mark.parametrize(
    ("text", "info"),
    [
        ('{"state": "asleep", "slots": "2", "gpus": 1, "version": null, "more": {}}', hosts.HostInfo(gpus=1)),
        ('{"state": ["stopped"], "slots": true}', hosts.HostInfo()),
        ('["slots"]', hosts.HostInfo()),
        ("no JSON", hosts.HostInfo()),
    ],
)
def test_an_odd_word_of_a_host_is_as_if_it_had_not_said_it(
    database: Database, text: str, info: hosts.HostInfo
) -> None:
    register(database)
    with database.transaction() as connection:
        connection.execute(update(t_host).values(info=text))
    assert row(database).info == info


def test_only_a_host_that_is_dead_or_stopped_is_forgotten(database: Database) -> None:
    register(database)
    stopped = register(database, "h2", "two")
    with pytest.raises(Conflict, match="cannot forget host h1: it is alive"):
        hosts.forget(database, "h1")
    bury(database)
    hosts.leave(database, stopped, hosts.HostInfo())
    for name in ("h1", "h2"):
        hosts.forget(database, name)
    assert hosts.hosts(database) == []
    with pytest.raises(NotFound, match="there is none of this name"):
        hosts.forget(database, "h1")


def test_a_forgotten_host_may_come_back_and_its_trials_stay(database: Database) -> None:
    member = join(database, make_experiment())
    member.take(1)
    kill(database, member.claimant)
    hosts.forget(database, member.claimant.host)
    assert orphaned_studies(database) == [member.status.study_id]
    assert len(member.trials()) == 1
    register(database, member.claimant.host)


@pytest.mark.parametrize("text", ["no JSON", '["slots"]', "[" * 100_000])
def test_a_row_that_cannot_be_read_is_named_and_hurts_no_other(database: Database, text: str) -> None:
    register(database)
    register(database, "h2", "two")
    with database.transaction() as connection:
        connection.execute(update(t_host).where(t_host.c.name == "h1").values(info=text))
    assert row(database).unreadable == "info"
    assert (row(database, "h2").unreadable, row(database, "h2").info.slots) == ("", 2)


def test_a_column_of_another_type_hurts_no_other_row(sqlite_url: str) -> None:
    with opened(sqlite_url) as database:
        register(database)
        register(database, "h2", "two")
        with database.transaction() as connection:
            connection.exec_driver_sql("UPDATE t_host SET beat = 'x', dead = 'y' WHERE name = 'h1'")
        assert row(database).unreadable == "beat, dead"
        assert row(database, "h2").unreadable == ""
