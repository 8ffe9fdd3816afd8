"""Crashes in a row on one host are given back once, if others did well since the first of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optuna.trial import TrialState

from tests.factories import CRASH, Member, at_once, join, line, make_experiment
from tests.integration.storage.steps import charged, point_states
from tuned.domain import ending as ending_module
from tuned.domain.ending import NAN, Cause, Ending, Failure
from tuned.domain.result import TellOutcome
from tuned.domain.states import PointState, StudyState
from tuned.storage.database import Database
from tuned.storage.studies import close_if_over, set_state
from tuned.storage.trials.sick import find_and_give_back
from tuned.storage.trials.tells import tell

#: So many in these tests.
ROW = 3


@pytest.fixture(autouse=True)
def _short_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending_module, "MOST_CRASHES_IN_A_ROW", ROW)


def hosts(database: Database, limits: str = "[budget]\ntrials = 40\nstalled = 30\n") -> tuple[Member, Member]:
    """A host that does well, and one that is sick."""
    experiment = make_experiment(limits, space=line(30))
    return join(database, experiment, "well"), join(database, experiment, "sick")


def crash(member: Member, *xs: int) -> list[int]:
    """Of different kinds: five that are alike would pause a study without a value."""
    return [crash_so(member, x, Failure(cause=Cause.EXIT, message="ab"[x % 2] * 9)) for x in xs]


def crash_so(member: Member, x: int, failure: Failure = CRASH, *, attempts: int = 1) -> int:
    claimed = member.take(x)
    for known in range(1, attempts):
        assert member.claims.charge_retry(claimed, known)
    result = member.result(claimed)
    end = Ending(failure=failure, retried=(CRASH,) * (attempts - 1))
    assert tell(member.database, replace(result, ending=end)) is TellOutcome.TOLD
    return claimed.number


def give_back(member: Member) -> list[int]:
    return find_and_give_back(member.database, member.status.study_id)


def test_a_row_is_given_back_whole_and_once(database: Database) -> None:
    well, sick = hosts(database)
    well.evaluate(0, 0.5)
    numbers = [*crash(sick, 1, 2), crash_so(sick, 3, attempts=3)]
    assert (give_back(well), charged(well)) == ([], (4, 6, 4))
    well.evaluate(4, 0.4)
    assert sorted(number for found in at_once(*[lambda: give_back(sick)] * 3) for number in found) == numbers
    assert (charged(well), well.now().free) == ((2, 2, 2), 3)
    trial = well.trial(numbers[0])
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs["FAILURE"] == {"cause": "host", "was": "exit", "message": "b" * 9}
    assert give_back(well) == []


def test_crashes_that_end_after_the_rest_belong_to_the_row_too(database: Database) -> None:
    well, sick = hosts(database)
    crash(sick, 1, 2, 3)
    well.evaluate(0, 0.5)
    assert len(give_back(sick)) == ROW
    [late] = crash(sick, 4)
    assert (give_back(sick), well.now().free) == ([late], 4)


def test_crashes_before_the_first_value_are_refunded_once(database: Database) -> None:
    well, sick = hosts(database)
    crash(sick, 1, 2, 3)
    assert charged(well) == (0, 0, 3)
    well.evaluate(0, 0.5)
    assert (len(give_back(well)), charged(well)) == (ROW, (1, 1, 1))


@pytest.mark.parametrize(
    "between",
    [
        lambda sick: sick.evaluate(9, 0.7),
        lambda sick: sick.tell(sick.take(9), is_pruned=True),
        lambda sick: crash_so(sick, 9, Failure(cause=Cause.TIMEOUT, message="still running after 5 s")),
        lambda sick: crash_so(sick, 9, Failure(cause=Cause.NO_VALUE, message="the value is NaN", detail=NAN)),
    ],
    ids=["a value", "a pruned trial", "a timeout", "NaN"],
)
def test_another_end_on_the_host_breaks_the_row(database: Database, between: object) -> None:
    well, sick = hosts(database)
    crash(sick, 1, 2)
    between(sick)  # type: ignore[operator]
    crash(sick, 3, 4)
    well.evaluate(0, 0.5)
    assert give_back(well) == []
    crash(sick, 5)
    assert len(give_back(well)) == ROW


def test_nothing_is_given_back_unless_it_goes_well_elsewhere_since_the_first(database: Database) -> None:
    well, sick = hosts(database)
    well.evaluate(0, 0.5)
    crash(sick, 1, 2, 3)
    crash(well, 4, 5, 6)
    assert give_back(well) == []
    sick.evaluate(7, 0.5)
    assert len(give_back(well)) == ROW
    assert point_states(well)[PointState.FREE, False] == ROW


def test_points_that_others_have_again_stay_theirs(database: Database) -> None:
    well, sick = hosts(database)
    well.evaluate(0, 0.5)
    crash(sick, 1, 2, 3)
    well.evaluate(4, 0.4)
    give_back(well)
    well.evaluate(1, 0.3)
    assert len(crash(sick, 5)) == len(give_back(sick)) == 1
    assert point_states(well) == {(PointState.DONE, False): 3, (PointState.FREE, False): 3}


def test_they_do_not_count_for_stalling(database: Database) -> None:
    well, sick = hosts(database, "[budget]\nstalled = 5\n")
    well.evaluate(0, 0.5)
    crash(sick, 1, 2, 3)
    well.tell(well.take(4), 0.6)
    give_back(well)
    for x in (5, 6, 7):
        well.evaluate(x, 0.7)
        assert well.now().ended_by is None
    well.evaluate(8, 0.7)
    assert well.now().ended_by == "nothing better in 5 evaluations since trial 0"


def test_a_search_that_stalling_has_ended_stays_ended(database: Database) -> None:
    well, sick = hosts(database, "[budget]\nstalled = 4\n")
    well.evaluate(0, 0.5)
    crash(sick, 1, 2, 3)
    well.evaluate(4, 0.6)
    assert (well.now().ended_by is not None, len(give_back(well))) == (True, ROW)
    assert well.now().ended_by is not None


def test_the_failures_of_a_sick_host_close_no_study(database: Database) -> None:
    well, sick = hosts(database, "[budget]\ntrials = 5\n")
    well.evaluate(0, 0.5)
    crash(sick, 1, 2, 3)
    well.evaluate(4, 0.4)
    assert well.now().is_full
    assert not close_if_over(database, well.status.study_id)
    assert (well.now().state, charged(well)) == (StudyState.OPEN, (2, 2, 2))


@pytest.mark.parametrize("state", [StudyState.DONE, StudyState.CANCELLED])
def test_a_study_that_has_ended_stays_as_it_is(database: Database, state: StudyState) -> None:
    well, sick = hosts(database)
    well.evaluate(0, 0.5)
    crash(sick, 1, 2, 3)
    well.evaluate(4, 0.4)
    set_state(database, well.status.study_id, state)
    assert (give_back(well), charged(well)) == ([], (5, 5, 5))
