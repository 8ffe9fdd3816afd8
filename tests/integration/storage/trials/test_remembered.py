"""The database's memory of one host: the claims that it holds, and how far it has told its outbox."""

from __future__ import annotations

from tests.factories import join, make_experiment
from tests.forgetting import forgotten
from tuned.storage.database import Database
from tuned.storage.trials.remembered import remembered, told_by
from tuned.storage.trials.tells import Receipt, tell


def test_a_host_is_remembered_with_what_it_holds_itself(database: Database) -> None:
    member = join(database, make_experiment(), "h1")
    held, ended = member.take(1), member.take(2)
    join(database, make_experiment(), "h2").take(3)
    member.tell(ended, 0.5)
    found = remembered(database, member.claimant)
    assert found.claims == {held.claim_id: held.study_id}


def test_a_told_record_is_noted_in_the_transaction_that_tells_it(database: Database) -> None:
    member = join(database, make_experiment(), "h1")
    first, second = member.take(1), member.take(2)
    tell(database, member.result(first, 0.5), Receipt(record=3, after=0))
    with forgotten(database):
        tell(database, member.result(second, 0.5), Receipt(record=4, after=3))
        assert told_by(database, "h1") == 4
    assert remembered(database, member.claimant).told == told_by(database, "h1") == 3


def test_a_record_behind_a_forgotten_one_is_not_noted(database: Database) -> None:
    member = join(database, make_experiment(), "h1")
    first, second = member.take(1), member.take(2)
    with forgotten(database):
        tell(database, member.result(first, 0.5), Receipt(record=1, after=0))
    tell(database, member.result(second, 0.5), Receipt(record=2, after=1))
    assert told_by(database, "h1") == 0


def test_a_host_that_the_database_does_not_know_has_told_nothing(database: Database) -> None:
    assert told_by(database, "h1") == 0
