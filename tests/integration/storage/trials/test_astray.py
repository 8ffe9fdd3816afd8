"""A point whose trial a person deleted with SQL is evaluated again, and never takes a value of another."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState
from sqlalchemy import delete, update

from tests.factories import Member, join, line, make_experiment, plain_optuna
from tests.integration.storage.steps import abort, charged, lose, walk
from tuned.domain.claim import Claimed, Idle, Origin
from tuned.domain.result import TellOutcome
from tuned.storage.database import Database
from tuned.storage.studies import close_if_over
from tuned.storage.tables.schema import trial_params, trial_values
from tuned.storage.trials.astray import astray_points, forget_astray


@pytest.fixture
def member(database: Database) -> Member:
    return join(database, make_experiment(space=line(3)))


def test_a_point_whose_trial_was_deleted_is_evaluated_again(member: Member) -> None:
    member.evaluate(0, 0.25)
    member.evaluate(1, 0.5)
    member.delete_trial(0)
    again = member.take(0)
    assert member.tell(again, 0.75) is TellOutcome.TOLD
    assert [trial.values for trial in member.trials()] == [[0.5], [0.75]]
    assert charged(member) == (3, 3, 2)


def test_a_point_whose_trial_was_deleted_does_not_take_the_trial_that_has_its_id_now(member: Member) -> None:
    member.evaluate(0, 0.25)
    member.delete_trial(0)
    # SQLite gives the id of the last trial again.
    member.evaluate(1, 0.5)
    assert isinstance(member.draw(0), Claimed)


@pytest.mark.parametrize("is_one_left", [False, True])
def test_values_that_were_deleted_are_not_reused(database: Database, is_one_left: bool) -> None:
    member = join(database, make_experiment('directions = ["minimize", "maximize"]'))
    member.evaluate(0, 0.25, 0.5)
    with database.transaction() as connection:
        which = trial_values.c.objective == 1 if is_one_left else trial_values.c.objective >= 0
        connection.execute(delete(trial_values).where(which))
    assert member.tell(member.take(0), 0.75, 1.0) is TellOutcome.TOLD
    assert member.repeat(0).values == (0.75, 1.0)


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_free_point_without_its_parameters_is_forgotten_and_walked_to_again(
    member: Member, is_changed: bool
) -> None:
    lose(member, 0)
    change = update(trial_params).values(param_value=1.0) if is_changed else delete(trial_params)
    with member.database.transaction() as connection:
        connection.execute(change)
    assert member.claims.next_freed() is None
    walked = [each for each in iter(lambda: walk(member), Idle()) if isinstance(each, Claimed)]
    assert {each.point.key for each in walked} == {member.point(x).key for x in range(3)}
    assert (len(walked), member.now().free) == (3, 0)


def test_a_held_point_whose_trial_was_deleted_is_let_go_with_its_host(member: Member) -> None:
    member.take(0)
    member.delete_trial(0)
    assert abort(member) == []
    assert (member.now().held, isinstance(member.draw(0), Claimed)) == (0, True)


def test_a_result_whose_trial_was_deleted_while_it_ran_becomes_a_trial(member: Member) -> None:
    claimed = member.take(0)
    member.delete_trial(0)
    assert member.tell(claimed, 0.25) is TellOutcome.RENEWED
    assert [trial.values for trial in member.trials()] == [[0.25]]
    assert (member.now().held, member.now().visited) == (0, 1)


def test_a_trial_that_another_program_ended_keeps_its_end_and_gives_up_its_point(member: Member) -> None:
    told, failed = member.take(0), member.take(1)
    with plain_optuna(member.database) as study:
        study.tell(told.number, 7.0)
        study.tell(failed.number, state=TrialState.FAIL)
    assert member.tell(told, 0.25) is TellOutcome.KNOWN
    assert member.tell(failed, 0.5) is TellOutcome.LATE
    assert [trial.values for trial in member.trials()] == [[7.0], None, [0.5]]
    assert (member.now().held, member.now().visited) == (0, 2)
    member.evaluate(2, 1.0)
    assert close_if_over(member.database, member.status.study_id)


def test_a_trial_that_another_program_ended_and_that_is_aborted_gives_up_its_point(member: Member) -> None:
    claimed = member.take(0)
    with plain_optuna(member.database) as study:
        study.tell(claimed.number, 7.0)
    assert abort(member) == []
    assert (member.now().held, member.repeat(0, origin=Origin.SAMPLER).values) == (0, (7.0,))


def test_points_without_a_trial_are_found_and_forgotten(member: Member) -> None:
    for x in range(2):
        member.evaluate(x, 0.5)
    assert astray_points(member.database) == {}
    member.delete_trial(0)
    assert astray_points(member.database) == {"exp": 1}
    assert forget_astray(member.database, "exp") == 1
    assert (astray_points(member.database), member.now().visited) == ({}, 1)
    assert isinstance(walk(member), Claimed)
