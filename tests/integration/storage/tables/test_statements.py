"""A trial costs the database few statements and transactions, and never more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import bindparam, event, literal_column, select, update

from tests.factories import MIXED, Member, join, make_experiment, opened, statements
from tuned.domain.claim import Action
from tuned.domain.ending import Cause, Failure
from tuned.storage.tables.schema import t_meta
from tuned.storage.tables.statements import Statement, insertion, run
from tuned.storage.trials.settling import give_back
from tuned.storage.trials.trial_rows import FEW

NINE_REPORTS = {"intermediate": dict.fromkeys(range(9), 0.5)}


@pytest.fixture
def member(postgresql_url: str) -> Iterator[Member]:
    with opened(postgresql_url) as database:
        yield join(database, make_experiment(space=MIXED))


def point(number: int) -> dict[str, Any]:
    return {"size": 1 + number % 9, "rate": 0.2 * (number // 9), "kind": "a"}


def test_a_trial_is_two_transactions_and_six_statements(member: Member) -> None:
    commits: list[object] = []
    event.listen(member.database.engine, "commit", commits.append)
    with statements(member.database) as seen:
        member.tell(member.take(**point(0)), 0.5)
    assert (len(seen), len(commits)) == (6, 2)


def test_the_text_of_a_trials_statements_is_made_once(member: Member) -> None:
    member.tell(member.take(**point(0)), 0.5)
    made: list[object] = []

    def note(_connection: Any, clause: object, *_: object) -> None:
        made.append(clause)

    event.listen(member.database.engine, "before_execute", note)
    with statements(member.database) as seen:
        member.tell(member.take(**point(1)), 0.5)
    assert (len(seen), made) == (6, [])


def test_only_many_intermediate_values_are_one_statement_more(member: Member) -> None:
    few = {"intermediate": dict.fromkeys(range(FEW), math.inf)}
    for number, reports, cost in ((0, few, 3), (1, NINE_REPORTS, 4)):
        claimed = member.take(**point(number))
        with statements(member.database) as seen:
            member.tell(claimed, 0.5, **reports)
        assert len(seen) == cost
        assert member.trial(number).intermediate_values == reports["intermediate"]


def test_the_point_of_a_trial_that_was_aborted_costs_no_more(member: Member) -> None:
    claimed = member.take(**point(0))
    give_back(
        member.database, claimed.study_id, claimed.claim_id, Failure(cause=Cause.ABORTED, message="disk full")
    )
    with statements(member.database) as seen:
        member.take(**point(0))
    assert len(seen) == 3


def test_a_trial_costs_the_same_after_fifty_others(member: Member) -> None:
    def cost(number: int) -> list[str]:
        with statements(member.database) as seen:
            member.tell(member.take(**point(number)), 0.5)
        return seen

    assert [cost(number) for number in range(51)][-1] == cost(51)


def test_a_duplicate_is_one_transaction(member: Member) -> None:
    member.tell(member.take(**point(0)), 0.5)
    with statements(member.database) as seen:
        assert member.repeat(**point(0)).action is Action.REUSE
    assert len(seen) == 7


def test_colons_and_percent_signs_of_joined_statements_are_no_parameters(member: Member) -> None:
    mine = update(t_meta).where(t_meta.c.name == bindparam("which"))
    other = insertion(t_meta, [{"name": "other", "value": "100% :which"}])
    odd = mine.values(value=literal_column("'a :b 50% '::text || 7::varchar"))
    with member.database.transaction() as connection:
        run(connection, Statement(odd, {"which": "version"}), other)
        found = {row.name: row.value for row in connection.execute(select(t_meta))}
    assert found == {"version": "a :b 50% 7", "other": "100% :which"}
