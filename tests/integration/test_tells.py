"""How trials end: the fence, late values, and what is settled for those who cannot tell."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import select

from tests.factories import CRASH, Member, at_once, join, kill, line, make_experiment, opened, plain_optuna
from tuned.claims import Claimed
from tuned.database import Database
from tuned.schema import t_point
from tuned.states import Cause
from tuned.tells import MOST_LOSSES, Told, give_back, orphaned_studies, settle_orphans, settle_own


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


@pytest.fixture
def member(database: Database) -> Member:
    return join(database, make_experiment(space=line(3)))


def lose(member: Member) -> list[int]:
    """The fleet finds the member's host dead and settles what it held."""
    kill(member.database, member.holder)
    return settle_orphans(member.database, member.standing.study_id)


def abort(member: Member, *, but_not: tuple[int, ...] = ()) -> list[int]:
    return settle_own(member.database, member.standing.study_id, member.holder.incarnation, but_not=but_not)


def again(member: Member) -> Member:
    """The same host as a new incarnation."""
    return join(member.database, member.experiment, member.holder.host)


def failures(member: Member) -> list[str | None]:
    return [trial.user_attrs.get("FAILURE", {}).get("cause") for trial in member.trials()]


def points(member: Member) -> list[tuple[Any, ...]]:
    """Replica, state and losses of each row."""
    with member.database.reading() as connection:
        rows = connection.execute(
            select(t_point.c.replica, t_point.c.state, t_point.c.losses).order_by(t_point.c.replica)
        )
        return [tuple(row) for row in rows]


def charged(member: Member) -> tuple[int, int, int]:
    standing = member.now()
    return (standing.trials, standing.evaluations, standing.visited)


# The fence


def test_a_result_is_told_once_and_changes_nothing_the_second_time(member: Member) -> None:
    claimed = member.take(1)
    assert [member.tell(claimed, 0.5), member.tell(claimed, 0.7)] == [Told.TOLD, Told.DROPPED]
    assert (member.trial(0).values, charged(member)) == ([0.5], (1, 1, 1))


def test_of_many_who_tell_at_once_one_is_heard(database_url: str) -> None:
    with opened(database_url) as first, opened(database_url) as second:
        members = [join(db, make_experiment(space=line(3)), "h1") for db in (first, second)]
        claimed = members[1].take(1)
        told = at_once(*(functools.partial(members[n % 2].tell, claimed, float(n)) for n in range(6)))
        assert Counter(told) == {Told.TOLD: 1, Told.DROPPED: 5}
        assert members[0].trial(0).values == [float(told.index(Told.TOLD))]


def test_a_failure_visits_its_point(member: Member) -> None:
    member.tell(member.take(1))
    assert failures(member) == ["exit"]
    assert (points(member), charged(member)) == ([(0, "failed", 0)], (1, 1, 1))


def test_earlier_attempts_are_kept_with_the_trial(member: Member) -> None:
    member.tell(member.take(1), 0.5, retried=(CRASH,))
    assert member.trial(0).user_attrs["RETRIED"] == [CRASH.attribute()]


def test_a_result_of_a_deleted_study_is_dropped(member: Member) -> None:
    claimed = member.take(1)
    with plain_optuna(member.database) as study:
        optuna.delete_study(study_name="exp", storage=study._storage)
    assert member.tell(claimed, 0.5) is Told.DROPPED


def test_a_result_of_a_deleted_study_is_not_given_to_its_successor(member: Member) -> None:
    claimed = member.take(1)
    with plain_optuna(member.database) as study:
        optuna.delete_study(study_name="exp", storage=study._storage)
    successor = join(member.database, member.experiment, "h2")
    successor.take(1)
    assert member.tell(claimed, 0.5) is Told.DROPPED
    assert [trial.state for trial in successor.trials()] == [TrialState.RUNNING]


# Lost and late


def test_what_a_dead_host_held_is_lost_free_and_refunded(member: Member) -> None:
    member.take(1)
    assert orphaned_studies(member.database) == []
    assert lose(member) == [0]
    assert failures(member) == ["lost"]
    assert (points(member), charged(member)) == ([(0, "free", 1)], (0, 0, 0))
    assert orphaned_studies(member.database) == []


def test_what_an_earlier_incarnation_held_is_lost_too(member: Member) -> None:
    member.take(1)
    now = again(member)
    now.take(2)
    assert settle_orphans(member.database, member.standing.study_id) == [0]
    assert [trial.state for trial in now.trials()] == [TrialState.FAIL, TrialState.RUNNING]


def test_a_point_that_was_lost_three_times_is_failed(member: Member) -> None:
    for _ in range(MOST_LOSSES):
        member.take(1)
        lose(member)
        member = again(member)
    assert (points(member), charged(member)) == ([(0, "failed", MOST_LOSSES)], (0, 0, 1))


def test_a_late_value_becomes_a_trial_of_its_own(member: Member) -> None:
    claimed = member.take(1)
    lose(member)
    assert member.tell(claimed, 0.5, intermediate={1: 0.7}) is Told.LATE
    lost, late = member.trials()
    assert (lost.state, lost.values) == (TrialState.FAIL, None)
    assert (late.state, late.values, late.params) == (TrialState.COMPLETE, [0.5], {"x": 1})
    assert late.user_attrs == {"HOST": {"host": "h1"}, "LATE_OF": 0}
    assert late.intermediate_values == {1: 0.7}
    assert (points(member), charged(member)) == ([(0, "done", 1)], (1, 1, 1))


def test_a_late_value_is_told_once(member: Member) -> None:
    claimed = member.take(1)
    lose(member)
    assert [member.tell(claimed, 0.5), member.tell(claimed, 0.5)] == [Told.LATE, Told.DROPPED]
    assert len(member.trials()) == 2


def test_a_late_failure_says_nothing(member: Member) -> None:
    claimed = member.take(1)
    lose(member)
    assert member.tell(claimed) is Told.DROPPED
    assert points(member) == [(0, "free", 1)]


def test_a_late_value_of_a_point_that_has_one_is_dropped(member: Member) -> None:
    claimed = member.take(1)
    lose(member)
    other = join(member.database, member.experiment, "h2")
    other.evaluate(1, 0.5)
    assert member.tell(claimed, 0.5) is Told.DROPPED
    assert charged(member) == (1, 1, 1)


def test_a_late_value_mends_a_point_that_was_given_up(member: Member) -> None:
    claims: list[Claimed] = []
    for _ in range(MOST_LOSSES):
        claims.append(member.take(1))
        lose(member)
        member = again(member)
    assert member.tell(claims[0], 0.5) is Told.LATE
    assert (points(member)[0][1], charged(member)) == ("done", (1, 1, 1))


def test_who_evaluates_the_point_meanwhile_keeps_its_claim_and_is_heard(member: Member) -> None:
    claimed = member.take(1)
    lose(member)
    other = join(member.database, member.experiment, "h2")
    second = other.take(1)
    assert member.tell(claimed, 0.5) is Told.LATE
    assert [row[:2] for row in points(member)] == [(0, "done"), (1, "held")]
    assert other.tell(second, 0.6) is Told.TOLD
    assert [trial.values for trial in other.trials()] == [None, [0.6], [0.5]]
    assert charged(other) == (2, 2, 1)


def test_a_late_value_never_overruns_the_budget(database: Database) -> None:
    member = join(database, make_experiment("[budget]\ntrials = 1", space=line(3)))
    claimed = member.take(1)
    lose(member)
    other = join(database, member.experiment, "h2")
    other.evaluate(2, 0.5)
    assert member.tell(claimed, 0.5) is Told.LATE
    assert charged(member) == (1, 2, 2)


# Aborted


def test_an_abort_ends_what_we_hold_and_nobody_elses(member: Member) -> None:
    other = join(member.database, member.experiment, "h2")
    member.take(0)
    other.take(1)
    assert abort(member) == [0]
    assert failures(member) == ["aborted", None]
    assert charged(member) == (1, 1, 0)


def test_an_abort_is_no_loss(member: Member) -> None:
    for _ in range(MOST_LOSSES + 1):
        member.take(1)
        abort(member)
    assert points(member) == [(0, "free", 0)]


def test_what_is_on_its_way_to_the_database_is_not_aborted(member: Member) -> None:
    claimed = member.take(1)
    assert abort(member, but_not=(claimed.trial_id,)) == []
    assert member.tell(claimed, 0.5) is Told.TOLD


def test_a_trial_that_cannot_begin_here_is_given_back_with_the_reason(member: Member) -> None:
    claimed = member.take(1)
    give_back(member.database, claimed.study_id, claimed.trial_id, "disk full")
    assert member.trial(0).user_attrs["FAILURE"] == {"cause": Cause.ABORTED, "message": "disk full"}
    assert points(member) == [(0, "free", 0)]


def test_a_repetition_that_is_aborted_disappears(database: Database) -> None:
    member = join(database, make_experiment('[dedup]\non_complete = "evaluate"', space=line(3)))
    member.evaluate(1, 0.5)
    member.take(1)
    abort(member)
    assert (points(member), charged(member)) == ([(0, "done", 0)], (1, 1, 1))


def test_settling_and_telling_at_once_end_each_trial_once(database_url: str) -> None:
    with opened(database_url) as first, opened(database_url) as second:
        member = join(first, make_experiment(space=line(12)))
        claims = [member.take(x) for x in range(12)]
        watcher = join(second, member.experiment, "h2")
        kill(second, member.holder)
        told = at_once(
            *(functools.partial(member.tell, claimed, 0.5) for claimed in claims),
            functools.partial(settle_orphans, second, member.standing.study_id),
        )
        trials = watcher.trials()
        assert all(trial.state.is_finished() for trial in trials)
        assert sum(trial.values is not None for trial in trials) == 12
        assert told.count(Told.TOLD) + told.count(Told.LATE) == 12
        assert charged(watcher) == (12, 12, 12)
