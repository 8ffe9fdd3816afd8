"""The budget: how much it allows, and how it is charged."""

from __future__ import annotations

import functools
from collections import Counter

import pytest
from sqlalchemy import update

from tests.factories import (
    Member,
    at_once,
    join,
    kill,
    line,
    make_claimant,
    make_experiment,
    opened,
    plain_optuna,
)
from tests.integration.storage.steps import numbers, walk
from tuned.domain.claim import Claimed, Closed, Idle
from tuned.domain.states import StudyState
from tuned.storage.database import Database
from tuned.storage.studies import close_if_over, set_state
from tuned.storage.tables.schema import t_study
from tuned.storage.trials.settling import settle_orphans, settle_own


def lose(member: Member, claimed: Claimed) -> None:
    kill(member.database, member.claimant)
    assert settle_orphans(member.database, member.status.study_id) == [claimed.number]


@pytest.mark.parametrize("limit", ["trials", "evaluations"])
def test_of_many_who_claim_at_once_exactly_so_many_get_one_as_the_budget_has(
    prepared_url: str, limit: str
) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        experiment = make_experiment(f"[budget]\n{limit} = 7", space=line(16))
        hosts = [join(db, experiment, f"h{n}") for n, db in enumerate([first, second] * 2)]
        outcomes = at_once(*(functools.partial(hosts[x % 4].draw, x) for x in range(16)))
        assert Counter(type(outcome) for outcome in outcomes) == {Claimed: 7, Closed: 9}
        assert numbers(hosts[0].trials()) == list(range(7))
        assert hosts[0].now().is_full


def test_evaluated_reused_skipped_and_failed_trials_are_charged(database: Database) -> None:
    member = join(database, make_experiment("[budget]\ntrials = 4"))
    member.evaluate(1, 0.5)
    member.repeat(1)
    member.take(2)
    member.repeat(2)
    assert (member.now().trials, member.now().evaluations) == (4, 2)
    assert member.draw(1) == member.draw(2) == member.draw(3) == Closed()
    assert numbers(member.trials()) == list(range(4))


def test_a_retry_is_an_evaluation_more_in_the_same_trial(database: Database) -> None:
    member = join(database, make_experiment("[budget]\nevaluations = 3"))
    claimed, other = member.take(1), member.take(2)
    assert member.claims.charge_retry(claimed, 1)
    assert not member.claims.charge_retry(other, 1)
    assert (member.now().trials, member.now().evaluations) == (2, 3)


def test_a_retry_whose_answer_was_lost_is_charged_once(database: Database) -> None:
    member = join(database, make_experiment("[budget]\nevaluations = 3"))
    claimed = member.take(1)
    assert all(member.claims.charge_retry(claimed, 1) for _ in range(3))
    assert member.now().evaluations == 2
    assert member.claims.charge_retry(claimed, 2)
    assert not member.claims.charge_retry(claimed, 3)
    assert member.claims.charge_retry(claimed, 2)
    assert member.now().evaluations == 3


def test_a_retry_that_the_database_has_forgotten_is_charged_with_the_next(database: Database) -> None:
    member = join(database, make_experiment("[budget]\nevaluations = 4"))
    claimed = member.take(1)
    assert member.claims.charge_retry(claimed, 3)
    assert member.now().evaluations == 4
    assert not member.claims.charge_retry(claimed, 4)


@pytest.mark.parametrize(("ended", "left"), [(0, 0), (1, 1), (2, 2)])
def test_an_abort_refunds_what_had_not_ended_by_itself(database: Database, ended: int, left: int) -> None:
    member = join(database, make_experiment())
    claimed, study_id = member.take(1), member.status.study_id
    assert member.claims.charge_retry(claimed, 1)
    incarnation, known = member.claimant.incarnation, {claimed.claim_id: ended}
    settle_own(database, study_id, incarnation, but_not=[], ended=known)
    assert (member.now().trials, member.now().evaluations) == (0, left)


def test_no_retry_of_a_trial_that_was_settled_meanwhile(database: Database) -> None:
    member = join(database, make_experiment())
    claimed = member.take(1)
    lose(member, claimed)
    assert not member.claims.charge_retry(claimed, 1)
    assert member.now().evaluations == 0


def test_trials_that_others_add_never_count(database: Database) -> None:
    member = join(database, make_experiment("[budget]\ntrials = 1"))
    with plain_optuna(database) as study:
        for _ in range(3):
            study.tell(study.ask(), 0.5)
    assert isinstance(member.draw(1), Claimed)


def test_the_time_begins_with_the_first_claim_and_by_the_databases_clock(database: Database) -> None:
    member = join(database, make_experiment('[budget]\ntime = "1h"'))
    assert member.now().seconds_left == 3600
    member.take(1)
    left = member.now().seconds_left
    assert left is not None
    assert 3500 < left <= 3600
    earlier = update(t_study).values(first_claim=t_study.c.first_claim - 3600)
    with database.transaction() as connection:
        connection.execute(earlier)
    assert member.draw(2) == Closed()
    assert member.now().is_full
    assert not close_if_over(database, member.status.study_id)


@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "aborted"])
def test_what_was_aborted_or_lost_is_refunded(database: Database, is_lost: bool) -> None:
    member = join(database, make_experiment("[budget]\ntrials = 1\nevaluations = 1"))
    claimed = member.take(1)
    assert member.draw(2) == Closed()
    if is_lost:
        lose(member, claimed)
    else:
        settle_own(database, member.status.study_id, member.claimant.incarnation, but_not=[])
    assert (member.now().trials, member.now().evaluations) == (0, 0)
    assert isinstance(join(database, member.experiment, "h2").draw(2), Claimed)


def test_a_retry_that_crashed_by_itself_is_not_refunded(database: Database) -> None:
    member = join(database, make_experiment())
    claimed = member.take(1)
    assert member.claims.charge_retry(claimed, 1)
    lose(member, claimed)
    assert (member.now().trials, member.now().evaluations) == (0, 1)


@pytest.mark.parametrize("state", [StudyState.PAUSED, StudyState.CANCELLED, StudyState.DONE])
def test_nothing_is_claimed_in_a_study_that_is_not_open(database: Database, state: StudyState) -> None:
    member = join(database, make_experiment())
    member.evaluate(1, 0.5)
    set_state(database, member.status.study_id, state)
    assert member.draw(1) == member.draw(2) == walk(member) == Closed()
    assert (member.now().trials, numbers(member.trials())) == (1, [0])


def test_nothing_is_claimed_for_an_incarnation_that_is_dead_or_replaced(database: Database) -> None:
    dead = join(database, make_experiment(), "h1")
    kill(database, dead.claimant)
    replaced = join(database, make_experiment(), "h2")
    make_claimant(database, "h2")
    assert dead.draw(1) == replaced.draw(1) == walk(dead) == walk(replaced) == Closed()
    assert join(database, make_experiment(), "h3").trials() == []


def test_nothing_is_claimed_once_every_point_is_visited(database: Database) -> None:
    member = join(database, make_experiment('[dedup]\non_complete = "evaluate"', space=line(2)))
    member.evaluate(0, 0.5)
    member.evaluate(1)
    assert member.now().is_exhausted
    assert walk(member) == Idle()
    assert member.draw(0) == Closed()
