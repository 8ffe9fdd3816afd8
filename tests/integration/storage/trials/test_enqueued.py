"""Trials that plain Optuna enqueued are read, and refused if they are no point."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from tests.factories import Member, join, make_experiment, plain_optuna
from tests.integration.storage.steps import delete_by_optuna
from tuned.storage.database import Database
from tuned.storage.trials.enqueued import fail_waiting, fixed_params


@pytest.fixture
def member(database: Database) -> Member:
    with plain_optuna(database) as study:
        study.enqueue_trial({"x": 99})
    return join(database, make_experiment())


def test_the_parameters_are_those_that_the_program_fixed(database: Database, member: Member) -> None:
    assert fixed_params(database, member.now().waiting[0]) == {"x": 99}


def test_a_waiting_trial_without_fixed_parameters_has_none(database: Database, member: Member) -> None:
    with plain_optuna(database) as study:
        study.add_trial(optuna.create_trial(state=TrialState.WAITING))
    assert fixed_params(database, member.now().waiting[1]) == {}


def test_a_refused_trial_fails_with_the_reason_and_waits_no_longer(
    database: Database, member: Member
) -> None:
    fail_waiting(database, member.now().waiting[0], "x is 99")
    [trial] = member.trials()
    message = "cannot evaluate the enqueued parameters: x is 99"
    assert (trial.state, trial.user_attrs["FAILURE"]) == (
        TrialState.FAIL, {"cause": "no-value", "message": message},
    )  # fmt: skip
    assert (member.now().waiting, member.now().trials) == ((), 0)


def test_a_trial_that_was_started_meanwhile_is_not_refused(database: Database, member: Member) -> None:
    claimed = member.take(5, waiting=member.now().waiting[0])
    fail_waiting(database, claimed.trial_id, "x is 99")
    assert member.trial(0).state is TrialState.RUNNING


def test_a_trial_of_a_deleted_study_is_refused_by_nobody(database: Database, member: Member) -> None:
    [waiting] = member.now().waiting
    delete_by_optuna(database)
    fail_waiting(database, waiting, "x is 99")
    assert fixed_params(database, waiting) == {}
