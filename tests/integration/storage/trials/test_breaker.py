"""Crashes before a study's first value: nothing is charged, and some that are alike pause it for all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.factories import CRASH, Member, at_once, join, line, make_experiment
from tests.integration.storage.steps import abort, point_states
from tuned.domain.claim import Closed
from tuned.domain.ending import NAN, Cause, Ending, Failure
from tuned.domain.result import TellOutcome
from tuned.domain.states import PointState, StudyState
from tuned.storage.changes import Author, free_failed, replace_definition
from tuned.storage.database import Database
from tuned.storage.studies import set_state
from tuned.storage.trials.breaker import MOST_ALIKE
from tuned.storage.trials.tells import tell


@pytest.fixture
def member(database: Database) -> Member:
    return join(database, make_experiment("[budget]\ntrials = 40\n", space=line(60)))


def fail(member: Member, x: int, failure: Failure = CRASH, *, attempts: int = 1) -> None:
    claimed = member.take(x)
    for charged in range(1, attempts):
        assert member.claims.charge_retry(claimed, charged)
    retried = (CRASH,) * (attempts - 1 - attempts // 3)
    # Some of them were replicates.
    ending = Ending(failure=failure, retried=retried, begun=attempts - len(retried))
    assert tell(member.database, replace(member.result(claimed), ending=ending)) is TellOutcome.TOLD


def charges(member: Member) -> tuple[int, int]:
    now = member.now()
    return now.trials, now.evaluations


def test_a_crash_before_the_first_value_is_not_charged(member: Member) -> None:
    fail(member, 1, attempts=3)
    assert (charges(member), member.now().visited) == ((0, 0), 1)
    member.evaluate(2, 0.5)
    fail(member, 3, attempts=3)
    assert charges(member) == (2, 4)


@pytest.mark.parametrize(
    "failure",
    [
        Failure(cause=Cause.TIMEOUT, message="still running after 5 s"),
        Failure(cause=Cause.NO_VALUE, message="the value is NaN", detail=NAN),
    ],
)
def test_a_failure_of_the_point_is_charged_and_pauses_nothing(member: Member, failure: Failure) -> None:
    for x in range(MOST_ALIKE + 1):
        fail(member, x, failure)
    assert charges(member) == (MOST_ALIKE + 1, MOST_ALIKE + 1)
    assert member.now().state is StudyState.OPEN


def mistake(line: int, status: int = 1) -> Failure:
    message = f"exit status {status}: line {line}: nmae is not defined at 0x7f{line:04x}"
    return Failure(cause=Cause.EXIT, message=message, detail={"status": status})


def test_crashes_that_differ_in_numbers_only_pause_the_study_for_all(member: Member) -> None:
    other = join(member.database, member.experiment, "h2")
    for x in range(MOST_ALIKE):
        assert member.now().state is StudyState.OPEN
        fail((member, other)[x % 2], x, mistake(x))
    now = member.now()
    assert now.state is StudyState.PAUSED
    assert now.pause_reason.startswith("never succeeded: 5 evaluations in a row failed alike (exit status 1:")
    assert isinstance(other.draw(50), Closed)


def test_one_host_does_not_pause_it_while_a_trial_runs_on_another(member: Member) -> None:
    other = join(member.database, member.experiment, "h2")
    running = other.take(50)
    for x in range(MOST_ALIKE + 2):
        fail(member, x, mistake(x))
    assert member.now().state is StudyState.OPEN
    # Two hosts crash alike, so the program is at fault.
    tell(member.database, replace(other.result(running), ending=Ending(failure=mistake(50))))
    assert member.now().state is StudyState.PAUSED


def test_one_host_pauses_it_once_nothing_runs_on_another(member: Member) -> None:
    other = join(member.database, member.experiment, "h2")
    other.take(50)
    for x in range(MOST_ALIKE):
        fail(member, x)
    abort(other)
    assert member.now().state is StudyState.OPEN
    fail(member, MOST_ALIKE)
    assert member.now().state is StudyState.PAUSED


def test_two_hosts_pause_it_whatever_runs_on_a_third(member: Member) -> None:
    second, third = (join(member.database, member.experiment, name) for name in ("h2", "h3"))
    third.take(50)
    for x in range(MOST_ALIKE - 1):
        fail((second, member)[min(x, 1)], x)
    assert member.now().state is StudyState.OPEN
    fail(member, MOST_ALIKE)
    assert member.now().state is StudyState.PAUSED


def test_crashes_that_differ_do_not_pause_it(member: Member) -> None:
    for x in range(2 * MOST_ALIKE):
        fail(member, x, mistake(x, status=1 + x % 2))
    assert member.now().state is StudyState.OPEN


def test_a_value_ends_the_rule(member: Member) -> None:
    member.evaluate(0, 1.0)
    for x in range(1, 2 * MOST_ALIKE):
        fail(member, x)
    assert member.now().state is StudyState.OPEN


def test_resuming_it_frees_its_points_and_counts_afresh(member: Member) -> None:
    for x in range(MOST_ALIKE):
        fail(member, x)
    set_state(member.database, member.status.study_id, StudyState.OPEN)
    now = member.now()
    assert (now.state, now.pause_reason, now.visited, now.free) == (StudyState.OPEN, "", 0, MOST_ALIKE)
    for x in range(MOST_ALIKE - 1):
        fail(member, x)
    assert member.now().state is StudyState.OPEN


def test_replacing_the_definition_goes_on_after_the_pause(member: Member) -> None:
    for x in range(MOST_ALIKE):
        fail(member, x)
    author = Author(user="ada", host="h1")
    other = make_experiment("[budget]\ntrials = 50\n", space=line(60))
    replace_definition(member.database, member.status.study_id, other, author)
    now = member.now()
    assert (now.state, now.pause_reason, now.free) == (StudyState.OPEN, "", MOST_ALIKE)


def test_a_persons_pause_keeps_the_failed_points(member: Member) -> None:
    fail(member, 1)
    for state in (StudyState.PAUSED, StudyState.OPEN):
        set_state(member.database, member.status.study_id, state)
    assert point_states(member) == {(PointState.FAILED, False): 1}
    assert free_failed(member.database, member.status.study_id, None) == 1


def test_a_study_that_was_cancelled_meanwhile_stays_cancelled(member: Member) -> None:
    claimed = [member.take(x) for x in range(MOST_ALIKE)]
    set_state(member.database, member.status.study_id, StudyState.CANCELLED)
    for each in claimed:
        member.tell(each)
    assert (member.now().state, member.now().pause_reason) == (StudyState.CANCELLED, "")


def test_crashes_told_at_once_are_all_counted(database: Database) -> None:
    member = join(database, make_experiment(space=line(60)))
    claimed = [member.take(x) for x in range(MOST_ALIKE)]
    at_once(*(lambda each=each: member.tell(each) for each in claimed))
    assert member.now().state is StudyState.PAUSED
