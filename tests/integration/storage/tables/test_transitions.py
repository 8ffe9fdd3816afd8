"""Each statement that sets a state keeps to the table of states, in whatever state it finds its row.

The tests' databases refuse a change that the table does not know (``tests/transitions.py``).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from tests.factories import Member, join, line, make_experiment
from tuned.domain.claim import Claimed
from tuned.domain.ending import Cause, Failure
from tuned.domain.states import POINT_TRANSITIONS, STUDY_TRANSITIONS, PointState, StudyState
from tuned.errors import Conflict
from tuned.storage.changes import Author, free_failed, replace_definition
from tuned.storage.database import Database
from tuned.storage.studies import close_if_over, set_state
from tuned.storage.tables.schema import t_point, t_study
from tuned.storage.tables.transitions import move_point, move_study
from tuned.storage.trials.settling import give_back, settle_own


@pytest.fixture
def member(database: Database) -> Member:
    return join(database, make_experiment(space=line(1)))


def put_study(database: Database, state: StudyState) -> None:
    """All states may follow the first."""
    with database.transaction() as connection:
        connection.execute(update(t_study).values(state=state))


def put_point(member: Member, state: PointState) -> Claimed:
    """A point in this state, with the trial that holds or held it."""
    claimed = member.take(0)
    if state is PointState.FREE:
        give_back(
            member.database,
            claimed.study_id,
            claimed.claim_id,
            Failure(cause=Cause.ABORTED, message="disk full"),
        )
    elif state is not PointState.HELD:
        values = [0.5] if state is PointState.DONE else []
        member.tell(claimed, *values, is_pruned=state is PointState.PRUNED)
    return claimed


def state_of_point(member: Member) -> PointState:
    with member.database.reading() as connection:
        [state] = connection.execute(select(t_point.c.state)).scalars()
    return PointState(state)


@pytest.mark.parametrize("then", StudyState)
@pytest.mark.parametrize("now", StudyState)
def test_a_study_is_set_only_into_what_may_follow(member: Member, now: StudyState, then: StudyState) -> None:
    put_study(member.database, now)
    if then in {now, *STUDY_TRANSITIONS[now]}:
        set_state(member.database, member.status.study_id, then)
        assert member.now().state is then
    else:
        with pytest.raises(Conflict, match=f"it is {now}"):
            set_state(member.database, member.status.study_id, then)


@pytest.mark.parametrize("now", StudyState)
def test_a_study_that_is_over_ends_only_if_its_state_may(member: Member, now: StudyState) -> None:
    member.evaluate(0, 0.5)
    put_study(member.database, now)
    may_end = StudyState.DONE in STUDY_TRANSITIONS[now]
    assert close_if_over(member.database, member.status.study_id) is may_end
    assert member.now().state is (StudyState.DONE if may_end else now)


@pytest.mark.parametrize("now", StudyState)
def test_another_budget_opens_what_is_done_and_nothing_else(member: Member, now: StudyState) -> None:
    put_study(member.database, now)
    raised = make_experiment("[budget]\ntrials = 5", space=line(1))
    replace_definition(member.database, member.status.study_id, raised, Author(user="ann", host="h1"))
    assert member.now().state is (StudyState.OPEN if now is StudyState.DONE else now)


@pytest.mark.parametrize("now", PointState)
@pytest.mark.parametrize("then", PointState)
def test_a_point_is_moved_only_from_what_may_precede(
    member: Member, now: PointState, then: PointState
) -> None:
    put_point(member, now)
    with member.database.transaction() as connection:
        connection.execute(move_point(then))
    assert state_of_point(member) is (then if then in POINT_TRANSITIONS[now] else now)


@pytest.mark.parametrize("now", PointState)
@pytest.mark.parametrize("step", ["claim", "tell", "fail", "free failed", "settle"])
def test_no_step_takes_a_point_where_its_table_does_not_lead(
    member: Member, now: PointState, step: str
) -> None:
    claimed = put_point(member, now)
    steps: dict[str, Callable[[], object]] = {
        "claim": lambda: member.draw(0),
        "tell": lambda: member.tell(claimed, 0.5),
        "fail": lambda: member.tell(claimed),
        "free failed": lambda: free_failed(member.database, claimed.study_id, None),
        "settle": lambda: settle_own(member.database, claimed.study_id, claimed.incarnation, but_not=()),
    }
    steps[step]()
    assert state_of_point(member) in {now, *POINT_TRANSITIONS[now]}


def test_the_tests_databases_refuse_what_no_table_knows(member: Member) -> None:
    member.evaluate(0, 0.5)
    with pytest.raises(DBAPIError, match="passes its table by"), member.database.transaction() as connection:
        connection.execute(update(t_point).values(state=PointState.HELD))


def test_a_move_from_a_state_that_may_not_precede_is_not_even_built() -> None:
    with pytest.raises(ValueError, match="held cannot follow done"):
        move_point(PointState.HELD, since=PointState.DONE)
    with pytest.raises(ValueError, match="paused cannot follow done"):
        move_study(StudyState.PAUSED, since=StudyState.DONE)
