"""A search ends by its values in the transaction that told them, and no claim comes after."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from tests.factories import (
    Member,
    at_once,
    join,
    make_experiment,
    opened,
    plain_optuna,
    statements,
)
from tests.integration.storage.steps import abort, lose
from tests.waiting import until
from tuned.domain.claim import Closed
from tuned.domain.ending import Cause, Ending, Failure
from tuned.domain.result import TellOutcome
from tuned.domain.states import StudyState
from tuned.storage.changes import Author, free_failed, replace_definition
from tuned.storage.database import Database
from tuned.storage.studies import close_if_over, set_state
from tuned.storage.trials.tells import tell

TARGET = "[budget]\ntarget = 0.5"
STALLED = "[budget]\nstalled = 2"
ALICE = Author(user="alice", host="h1")
SEVERAL = 'directions = ["minimize", "maximize"]\n'


def searching(database: Database, extra: str, host: str = "h1") -> Member:
    return join(database, make_experiment(extra), host)


def why(member: Member) -> str | None:
    return member.now().ended_by


def replaced(member: Member, extra: str) -> StudyState:
    replace_definition(member.database, member.status.study_id, make_experiment(extra), ALICE)
    return member.now().state


def fail(member: Member, x: int, failure: Failure) -> None:
    result = replace(member.result(member.take(x)), ending=Ending(failure=failure))
    assert tell(member.database, result) is TellOutcome.TOLD


def ended(member: Member) -> StudyState:
    close_if_over(member.database, member.status.study_id)
    return member.now().state


# The target


def test_the_first_trial_that_reaches_the_target_ends_the_search(database: Database) -> None:
    member = searching(database, TARGET)
    member.evaluate(0, 0.75)
    running = member.take(1)
    member.evaluate(2, 0.5)
    assert why(member) == "target 0.5 reached by trial 2 on h1"
    assert member.draw(3) == Closed()
    # Running trials finish, and their better values do not change why the search ended.
    member.tell(running, 0.25)
    assert (ended(member), why(member)) == (StudyState.DONE, "target 0.5 reached by trial 2 on h1")


def test_no_claim_comes_after_the_commit_that_ended_the_search(postgresql_url: str) -> None:
    with opened(postgresql_url) as database:
        one, *others = (searching(database, TARGET, f"h{n}") for n in range(5))
        claimed = one.take(0)
        at_once(
            functools.partial(one.tell, claimed, 0.5),
            *(functools.partial(each.draw, n) for n, each in enumerate(others, 1)),
        )
        assert [each.draw(n) for n, each in enumerate(others, 5)] == [Closed()] * 4


def test_several_objectives_are_reached_by_one_trial(database: Database) -> None:
    member = searching(database, f"{SEVERAL}[budget]\ntarget = [0.5, 10]")
    member.evaluate(0, 0.25, 5.0)
    member.evaluate(1, 0.75, 20.0)
    assert why(member) is None
    member.evaluate(2, 0.5, 10.0)
    assert why(member) == "targets 0.5, 10 reached by trial 2 on h1"


def test_a_pruned_or_failed_trial_reaches_no_target(database: Database) -> None:
    member = searching(database, TARGET)
    member.tell(member.take(0), 0.25, is_pruned=True)
    member.evaluate(1)
    assert why(member) is None


def test_a_value_that_comes_late_reaches_the_target(database: Database) -> None:
    member = searching(database, TARGET)
    lost = lose(member, 0)
    assert member.tell(lost, 0.5) is TellOutcome.LATE
    assert why(member) == "target 0.5 reached by trial 1 on h1"


def test_a_value_whose_trial_was_forgotten_reaches_the_target(database: Database) -> None:
    member = searching(database, TARGET)
    claimed = member.take(0)
    member.delete_trial(claimed.number)
    assert member.tell(claimed, 0.5) is TellOutcome.RENEWED
    assert why(member) == "target 0.5 reached by trial 0 on h1"


@pytest.mark.parametrize("is_joined", [True, False])
def test_a_trial_of_another_program_reaches_the_target(database: Database, is_joined: bool) -> None:
    member = None if is_joined else searching(database, TARGET)
    with plain_optuna(database) as study:
        study.tell(study.ask(), 0.75)
        study.tell(study.ask(), 0.25)
    member = member or searching(database, TARGET)
    assert member.now().needs_check
    assert ended(member) is StudyState.DONE
    assert why(member) == "target 0.5 reached by trial 1 of another program"


def test_a_value_that_violates_a_constraint_reaches_no_target(database: Database) -> None:
    member = searching(database, TARGET)
    member.tell(member.take(0), 0.25, constraints={"latency": 1.0})
    with plain_optuna(database) as study:
        trial = study.ask()
        trial.set_constraint("latency", 0.5)
        study.tell(trial, 0.25)
    assert (ended(member), why(member)) == (StudyState.OPEN, None)
    replaced(member, "[budget]\ntarget = 0.6")
    assert why(member) is None
    member.tell(member.take(1), 0.5, constraints={"latency": 0.0})
    assert why(member) == "target 0.6 reached by trial 2 on h1"


def test_trials_of_another_program_are_held_against_the_target_once(database: Database) -> None:
    member = searching(database, TARGET)
    member.evaluate(0, 0.75)
    with plain_optuna(database) as study:
        study.tell(study.ask(), 0.75)
    assert member.now().needs_check
    assert ended(member) is StudyState.OPEN
    assert not member.now().needs_check


# Stalling


def test_a_search_ends_when_nothing_better_came_for_long(database: Database) -> None:
    member = searching(database, STALLED)
    member.evaluate(0, 0.5)
    member.evaluate(1, 0.25)
    member.tell(member.take(2), is_pruned=True)
    assert why(member) is None
    member.evaluate(3)
    assert why(member) == "nothing better in 2 evaluations since trial 1"
    assert member.draw(4) == Closed()


def test_a_better_value_begins_the_count_again(database: Database) -> None:
    member = searching(database, STALLED)
    for x, value in enumerate((0.5, 0.5, 0.25, 0.25, 0.125)):
        member.evaluate(x, value)
    assert why(member) is None


def test_a_value_that_violates_a_constraint_is_not_better(database: Database) -> None:
    member = searching(database, "")
    member.evaluate(0, 0.5)
    member.tell(member.take(1), 0.25, constraints={"latency": 1.0})
    replaced(member, STALLED)
    assert why(member) is None
    member.tell(member.take(2), 0.125, constraints={"latency": 1.0})
    assert why(member) == "nothing better in 2 evaluations since trial 0"


def test_only_more_than_min_delta_is_better(database: Database) -> None:
    member = searching(database, f"{STALLED}\nmin_delta = 0.5")
    for x, value in enumerate((2.0, 1.75, 1.5)):
        member.evaluate(x, value)
    assert why(member) == "nothing better in 2 evaluations since trial 0"


def test_several_objectives_stall_while_their_front_stays(database: Database) -> None:
    member = searching(database, SEVERAL + STALLED)
    for x, values in enumerate(((0.5, 5.0), (0.25, 2.0), (0.5, 2.0), (0.75, 7.0), (0.75, 5.0), (0.5, 5.0))):
        assert why(member) is None
        member.evaluate(x, *values)
    assert why(member) == "nothing better in 2 evaluations since trial 3"


def test_what_nobody_evaluated_or_ended_does_not_stall(database: Database) -> None:
    member = searching(database, '[dedup]\non_complete = "reuse"\n[budget]\nstalled = 1')
    member.evaluate(0, 0.5)
    member.repeat(0)
    member.take(1)
    member.repeat(1)
    abort(member)
    lose(member, 2)
    with plain_optuna(database) as study:
        study.tell(study.ask(), 0.75)
        study.tell(study.ask(), state=TrialState.FAIL)
    assert (ended(member), why(member)) == (StudyState.OPEN, None)


def test_crashes_before_the_first_value_do_not_stall(database: Database) -> None:
    member = searching(database, STALLED)
    for x in range(3):
        member.evaluate(x)
    assert why(member) is None
    timeout = Failure(cause=Cause.TIMEOUT, message="ran too long")
    for x in range(3, 5):
        fail(member, x, timeout)
    assert why(member) == "no value in 2 evaluations"


def test_a_result_that_is_told_twice_counts_once(database: Database) -> None:
    member = searching(database, STALLED)
    member.evaluate(0, 0.5)
    claimed = member.evaluate(1, 0.75)
    lost = lose(member, 2)
    assert member.tell(lost, 0.5) is TellOutcome.LATE
    assert why(member) == "nothing better in 2 evaluations since trial 0"
    member = searching(database, STALLED)
    for _ in range(2):
        assert member.tell(claimed, 0.75) is TellOutcome.KNOWN
        assert member.tell(lost, 0.5) is TellOutcome.KNOWN
    assert why(member) == "nothing better in 2 evaluations since trial 0"


def test_tells_at_the_same_moment_count_each(database: Database) -> None:
    members = [searching(database, "[budget]\nstalled = 4", f"h{n}") for n in range(4)]
    members[0].evaluate(8, 0.25)
    claimed = [member.take(n) for n, member in enumerate(members)]
    at_once(
        *(functools.partial(m.tell, each, 0.5) for m, each in zip(members, claimed, strict=True)),
    )
    assert why(members[0]) == "nothing better in 4 evaluations since trial 0"


# Other limits, and other commands


def test_a_replacement_opens_a_search_that_is_not_over_by_it(database: Database) -> None:
    member = searching(database, TARGET)
    member.evaluate(0, 0.5)
    assert ended(member) is StudyState.DONE
    assert replaced(member, "[budget]\ntarget = 0.25") is StudyState.OPEN
    assert why(member) is None
    member.evaluate(1, 0.25)
    assert why(member) == "target 0.25 reached by trial 1 on h1"


def test_a_replacement_by_a_target_that_was_reached_ends_the_search(database: Database) -> None:
    member = searching(database, "")
    for x, value in enumerate((0.75, 0.5, 0.25)):
        member.evaluate(x, value)
    replaced(member, TARGET)
    assert why(member) == "target 0.5 reached by trial 1 on h1"
    assert member.draw(5) == Closed()


def test_a_replacement_counts_the_trials_that_came_before_it(database: Database) -> None:
    member = searching(database, "")
    for x, value in enumerate((0.75, 0.25, 0.5)):
        member.evaluate(x, value)
    member.take(5)
    abort(member)
    replaced(member, STALLED)
    assert why(member) is None
    member.evaluate(6)
    assert why(member) == "nothing better in 2 evaluations since trial 1"
    assert ended(member) is StudyState.DONE
    assert replaced(member, "[budget]\nstalled = 2\ntrials = 50") is StudyState.DONE
    assert replaced(member, "[budget]\nstalled = 3") is StudyState.OPEN
    member.evaluate(7, 0.5)
    assert why(member) == "nothing better in 3 evaluations since trial 1"


def test_a_search_that_is_still_over_says_by_what(database: Database) -> None:
    member = searching(database, "[budget]\ntrials = 1")
    member.evaluate(0, 0.5)
    assert (ended(member), why(member)) == (StudyState.DONE, "1 trial")
    assert replaced(member, "[budget]\ntrials = 2\ntarget = 0.5") is StudyState.DONE
    assert why(member) == "target 0.5 reached by trial 0 on h1"


def test_a_file_that_is_submitted_again_does_not_undo_the_end(database: Database) -> None:
    member = searching(database, TARGET)
    member.evaluate(0, 0.5)
    assert ended(member) is StudyState.DONE
    member = searching(database, TARGET)
    assert (member.now().state, why(member)) == (StudyState.OPEN, "target 0.5 reached by trial 0 on h1")
    assert ended(member) is StudyState.DONE


def test_a_retry_does_not_undo_the_end(database: Database) -> None:
    member = searching(database, TARGET)
    member.evaluate(0)
    member.evaluate(1, 0.5)
    assert ended(member) is StudyState.DONE
    assert free_failed(database, member.status.study_id, None) == 1
    assert (member.now().state, member.now().free) == (StudyState.DONE, 1)


def test_a_cancelled_search_says_who_cancelled_it(database: Database) -> None:
    member = searching(database, "")
    set_state(database, member.status.study_id, StudyState.CANCELLED, user="alice")
    set_state(database, member.status.study_id, StudyState.CANCELLED, user="bob")
    assert why(member) == "cancelled by alice"
    replaced(member, TARGET)
    assert why(member) == "cancelled by alice"
    assert why(searching(database, TARGET)) is None


# Running trials are killed


@pytest.mark.parametrize("extra", [TARGET, "[budget]\nstalled = 1"])
def test_an_end_that_aborts_does_not_wait_for_what_runs(database: Database, extra: str) -> None:
    member = searching(database, f'{extra}\nwhen_over = "abort"')
    member.take(0)
    member.evaluate(1, 0.5)
    if "stalled" in extra:
        member.evaluate(2, 0.75)
    assert member.now().is_over
    assert ended(member) is StudyState.DONE
    abort(member)
    assert (member.now().held, member.now().free) == (0, 1)
    assert replaced(member, "") is StudyState.OPEN


def test_time_that_is_over_aborts_too_and_a_full_budget_does_not(database: Database) -> None:
    limits = '[budget]\ntime = 0.001\ntrials = 1\nwhen_over = "abort"'
    member = searching(database, limits)
    member.take(0)
    until(lambda: member.now().is_over, what="the end of the time")
    assert (ended(member), why(member)) == (StudyState.DONE, "1ms is over")
    full = join(database, make_experiment('[budget]\ntrials = 1\nwhen_over = "abort"', name="full"))
    full.take(0)
    assert not full.now().is_over
    assert ended(full) is StudyState.OPEN


# The cost


def test_an_end_by_values_costs_no_statement_more(postgresql_url: str) -> None:
    with opened(postgresql_url) as database:
        member = searching(database, f"{SEVERAL}[budget]\ntarget = [0, 9]\nstalled = 5")
        member.evaluate(0, 0.5, 1.0)
        with statements(database) as seen:
            member.evaluate(1, 0.25, 2.0)
    assert len(seen) == 6
