"""Trials that are settled, aborted or lost; and what that does to points, budget and visits."""

from __future__ import annotations

import functools

import pytest
from optuna.trial import TrialState

from tests.factories import Member, at_once, join, kill, make_claimant, make_experiment, opened
from tests.integration.storage.steps import (
    AGAIN,
    abort,
    charged,
    delete_by_optuna,
    lose,
    point_states,
    states,
)
from tuned.domain.claim import Action
from tuned.domain.ending import Cause, Failure
from tuned.domain.result import TellOutcome
from tuned.domain.states import PointState
from tuned.storage.database import Database
from tuned.storage.trials.settling import MOST_LOSSES, give_back, orphaned_studies, settle_orphans


@pytest.fixture
def member(database: Database) -> Member:
    return join(database, make_experiment())


def test_an_abort_ends_what_the_incarnation_holds_and_nothing_else(member: Member) -> None:
    other = join(member.database, member.experiment, "h2")
    told, kept, aborted, theirs = member.take(0), member.take(1), member.take(2), other.take(3)
    member.tell(told, 0.5)
    assert abort(member, kept) == [aborted.number]
    running = [kept.number, theirs.number]
    assert [t.number for t in member.trials() if t.state is TrialState.RUNNING] == running
    failure = member.trial(aborted.number).user_attrs["FAILURE"]
    assert failure == {"cause": "aborted", "message": "stopped before it ended"}
    assert (charged(member), member.now().free, member.now().held) == ((3, 3, 1), 1, 2)


def test_an_abort_twice_settles_once(member: Member) -> None:
    member.take(5)
    settled = at_once(*[lambda: abort(member)] * 4)
    assert sorted(settled) == [[], [], [], [0]]
    assert (charged(member), member.now().free) == ((0, 0, 0), 1)


def test_an_abort_is_no_loss(member: Member) -> None:
    for _ in range(MOST_LOSSES + 1):
        member.take(5)
        abort(member)
    assert (member.now().free, charged(member)) == (1, (0, 0, 0))


def test_a_trial_that_could_not_begin_is_given_back_with_the_reason(member: Member) -> None:
    claimed, other = member.take(5), member.take(6)
    give_back(
        member.database, claimed.study_id, claimed.claim_id, Failure(cause=Cause.ABORTED, message="disk full")
    )
    give_back(
        member.database, claimed.study_id, claimed.claim_id, Failure(cause=Cause.ABORTED, message="disk full")
    )
    assert member.trial(0).user_attrs["FAILURE"] == {"cause": "aborted", "message": "disk full"}
    assert (charged(member), member.now().free) == ((1, 1, 0), 1)
    assert member.tell(other, 0.5) is TellOutcome.TOLD


def test_only_what_no_living_incarnation_holds_is_an_orphan(member: Member) -> None:
    study_id = member.status.study_id
    member.take(0)
    assert (orphaned_studies(member.database), settle_orphans(member.database, study_id)) == ([], [])
    dead = join(member.database, member.experiment, "h2")
    replaced = join(member.database, member.experiment, "h3")
    orphans = [dead.take(1), replaced.take(2)]
    kill(member.database, dead.claimant)
    make_claimant(member.database, "h3")
    assert orphaned_studies(member.database) == [study_id]
    assert sorted(settle_orphans(member.database, study_id)) == [claimed.number for claimed in orphans]
    assert orphaned_studies(member.database) == []
    assert (states(member)[0], charged(member)) == (TrialState.RUNNING, (1, 1, 0))


def test_hosts_that_settle_at_once_settle_each_orphan_once(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        member = join(first, make_experiment())
        for x in range(4):
            member.take(x)
        kill(first, member.claimant)
        study_id = member.status.study_id
        settled = at_once(*(functools.partial(settle_orphans, db, study_id) for db in [first, second] * 2))
        assert sorted(settled, key=len)[:3] == [[], [], []]
        assert sorted(number for numbers in settled for number in numbers) == [0, 1, 2, 3]
        assert (charged(member), member.now().free) == ((0, 0, 0), 4)


def test_the_third_loss_fails_the_point_and_visits_it(member: Member) -> None:
    for losses in range(1, MOST_LOSSES + 1):
        assert charged(member) == (0, 0, 0)
        lost = lose(member, 5)
        assert member.trial(lost.number).user_attrs["FAILURE"]["cause"] == "lost"
        assert member.now().free == (1 if losses < MOST_LOSSES else 0)
    assert (charged(member), point_states(member)) == ((0, 0, 1), {(PointState.FAILED, False): 1})
    assert member.repeat(5).action is Action.RESAMPLE


def test_a_repetition_that_is_settled_vanishes_and_is_owed_to_nobody(database: Database) -> None:
    member = join(database, make_experiment(AGAIN))
    member.evaluate(5, 0.5)
    member.take(5)
    abort(member)
    assert (charged(member), point_states(member)) == ((1, 1, 1), {(PointState.DONE, False): 1})
    member.take(5)
    kill(database, member.claimant)
    assert settle_orphans(database, member.status.study_id) == [2]
    assert (charged(member), point_states(member)) == ((1, 1, 1), {(PointState.DONE, False): 1})


def test_a_repetition_goes_on_when_the_first_evaluation_is_settled(database: Database) -> None:
    member = join(database, make_experiment(AGAIN))
    first, second = member.take(5), member.take(5)
    abort(member, second)
    assert member.tell(second, 0.5) is TellOutcome.TOLD
    assert member.trial(first.number).state is TrialState.FAIL
    assert (member.now().free, member.now().held) == (1, 0)


def test_nothing_is_settled_in_a_study_that_was_deleted(member: Member) -> None:
    claimed = member.take(5)
    delete_by_optuna(member.database)
    assert abort(member) == settle_orphans(member.database, claimed.study_id) == []
    give_back(
        member.database, claimed.study_id, claimed.claim_id, Failure(cause=Cause.ABORTED, message="disk full")
    )
    assert orphaned_studies(member.database) == []
