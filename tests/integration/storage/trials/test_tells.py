"""How trials are told, once or late; and what that does to points, budget and visits."""

from __future__ import annotations

import datetime as dt
import functools
import math
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import update

from tests.factories import (
    CRASH,
    MIXED,
    Member,
    at_once,
    join,
    kill,
    line,
    make_experiment,
    opened,
    plain_optuna,
)
from tests.integration.storage.steps import (
    AGAIN,
    abort,
    charged,
    delete_by_optuna,
    lose,
    point_states,
    states,
)
from tuned.domain.claim import Action, Claimed, Closed
from tuned.domain.ending import Cause, Failure
from tuned.domain.result import TellOutcome
from tuned.domain.states import PointState, StudyState
from tuned.storage.changes import free_failed
from tuned.storage.database import Database
from tuned.storage.queries import experiments
from tuned.storage.studies import close_if_over, set_state
from tuned.storage.tables.schema import t_study, trials
from tuned.storage.trials.settling import MOST_LOSSES, settle_orphans
from tuned.storage.trials.tells import tell
from tuned.storage.trials.trial_rows import utc_now


@pytest.fixture
def member(database: Database) -> Member:
    return join(database, make_experiment())


# Told


def test_a_value_ends_its_trial_and_visits_its_point(member: Member) -> None:
    claimed = member.take(5)
    assert member.tell(claimed, 0.25, intermediate={0: 1.5, 9: math.inf}) is TellOutcome.TOLD
    [trial] = member.trials()
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.25])
    assert trial.intermediate_values == {0: 1.5, 9: math.inf}
    assert trial.user_attrs == {"HOST": {"host": "h1"}}
    assert (charged(member), member.now().held) == ((1, 1, 1), 0)


def test_how_long_an_evaluation_took_is_known_however_late_it_is_told(member: Member) -> None:
    in_time, lost, at_once_told = member.take(5), lose(member, 6), member.take(7)
    study_id, hours, ago = member.status.study_id, dt.timedelta(hours=2), time.time() - 600
    with member.database.transaction() as connection:
        connection.execute(update(trials).values(datetime_start=utc_now() - hours))
    member.tell(in_time, 0.25, ended=ago)
    member.tell(replace(lost, claimed_at=lost.claimed_at - hours.total_seconds()), 0.25, ended=ago)
    member.tell(at_once_told, 0.25)
    views = [experiments.trial(member.database, study_id, number) for number in (0, 3, 2)]
    assert [view["state"] for view in views] == ["COMPLETE"] * 3
    assert [view["seconds"] for view in views] == pytest.approx([6600, 6600, 7200], abs=60)


def test_a_failure_ends_its_trial_with_its_reason_and_visits_its_point(member: Member) -> None:
    claimed = member.take(5)
    assert member.tell(claimed, intermediate={0: 1.5}) is TellOutcome.TOLD
    [trial] = member.trials()
    assert (trial.state, trial.values) == (TrialState.FAIL, None)
    assert trial.user_attrs["FAILURE"] == {"cause": "exit", "message": "exit status 1", "status": 1}
    assert trial.intermediate_values == {0: 1.5}
    assert (charged(member), member.now().held) == ((0, 0, 1), 0)
    assert point_states(member) == {(PointState.FAILED, False): 1}


@pytest.mark.parametrize("values", [(1.5,), ()], ids=["report", "none"])
def test_a_pruned_trial_has_its_last_report_and_its_point_is_visited(
    member: Member, values: tuple[float, ...]
) -> None:
    member.tell(member.take(5), *values, is_pruned=True, intermediate={0: 1.5} if values else {})
    [trial] = member.trials()
    assert (trial.state, trial.values) == (TrialState.PRUNED, list(values) or None)
    assert trial.user_attrs == {"HOST": {"host": "h1"}}
    assert (charged(member), member.now().held) == ((1, 1, 1), 0)
    assert point_states(member) == {(PointState.PRUNED, False): 1}


def test_a_pruned_point_is_drawn_again_like_a_failed_one(member: Member) -> None:
    member.tell(member.take(5), is_pruned=True)
    assert member.repeat(5).action is Action.RESAMPLE
    assert free_failed(member.database, member.status.study_id, None) == 0


def test_a_trial_that_stops_the_search_lets_the_others_end_and_no_other_begin(member: Member) -> None:
    first, running = member.take(1), member.take(2)
    member.tell(first, 0.5, stops_search=True)
    assert isinstance(member.draw(3), Closed)
    assert not close_if_over(member.database, member.status.study_id)
    member.tell(running, stops_search=True)
    assert close_if_over(member.database, member.status.study_id)
    assert (member.now().state, member.now().ended_by) == (StudyState.DONE, "stopped by trial 0 on h1")


def test_a_study_that_a_person_opens_again_is_no_longer_stopped(member: Member) -> None:
    member.tell(member.take(1), 0.5, stops_search=True)
    close_if_over(member.database, member.status.study_id)
    member = join(member.database, member.experiment)
    assert (member.now().state, member.now().ended_by) == (StudyState.OPEN, None)
    member.take(2)


def test_a_resume_does_not_undo_a_stop(member: Member) -> None:
    claimed = member.take(1)
    set_state(member.database, member.status.study_id, StudyState.PAUSED)
    member.tell(claimed, 0.5, stops_search=True)
    set_state(member.database, member.status.study_id, StudyState.OPEN)
    assert isinstance(member.draw(3), Closed)


def test_why_earlier_attempts_crashed_is_kept_oldest_first(member: Member) -> None:
    killed = Failure(cause=Cause.SIGNAL, message="killed", detail={"signal": "SIGKILL"})
    member.tell(member.take(5), 0.5, retried=(CRASH, killed))
    assert member.trial(0).user_attrs["RETRIED"] == [CRASH.attribute(), killed.attribute()]


@pytest.mark.parametrize("values", [(0.5,), ()], ids=["value", "failure"])
def test_user_attributes_are_told_beside_our_own(member: Member, values: tuple[float, ...]) -> None:
    member.tell(member.take(5), *values, user_attrs={"epochs": "3", "path": '["a", NaN]'})
    found = member.trial(0).user_attrs
    assert (found["epochs"], found["path"][0], found["HOST"]) == (3, "a", {"host": "h1"})


def test_a_user_attribute_that_was_enqueued_gives_way(database: Database) -> None:
    with plain_optuna(database) as study:
        study.enqueue_trial({"x": 5}, user_attrs={"from": "a person", "kept": 1})
    member = join(database, make_experiment())
    claimed = member.take(5, waiting=member.now().waiting[0])
    member.tell(claimed, 0.5, user_attrs={"from": '"the trial"'})
    assert member.trial(0).user_attrs.items() >= {"from": "the trial", "kept": 1}.items()


def test_the_values_of_several_objectives_keep_their_order(database: Database) -> None:
    member = join(database, make_experiment('directions = ["minimize", "maximize"]'))
    member.evaluate(5, 3.5, -math.inf)
    assert member.trial(0).values == [3.5, -math.inf]


# The fence


@pytest.mark.parametrize("values", [(0.25,), ()], ids=["value", "failure"])
def test_what_was_told_before_is_dropped_and_changes_nothing(
    member: Member, values: tuple[float, ...]
) -> None:
    claimed = member.take(5)
    member.tell(claimed, *values)
    before = member.trials(), charged(member)
    assert member.tell(claimed, *values, intermediate={7: 7.0}) is TellOutcome.KNOWN
    assert (member.trials(), charged(member)) == before


@pytest.mark.parametrize("values", [(0.25,), ()], ids=["value", "failure"])
def test_of_many_who_tell_a_result_at_once_one_has_told_it(
    prepared_url: str, values: tuple[float, ...]
) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        member = join(first, make_experiment())
        result = member.result(member.take(5), *values)
        told = at_once(*(functools.partial(tell, database, result) for database in [first, second] * 3))
        assert Counter(told) == {TellOutcome.TOLD: 1, TellOutcome.KNOWN: 5}
        # A crash before the first value is not charged.
        count = len(values)
        assert (len(member.trials()), charged(member)) == (1, (count, count, 1))


def test_a_failure_of_a_trial_that_was_settled_is_dropped(member: Member) -> None:
    claimed = lose(member, 5)
    before = member.trials(), charged(member)
    assert member.tell(claimed) is TellOutcome.KNOWN
    assert (member.trials(), charged(member)) == before


def test_hosts_that_tell_claim_and_settle_at_once_lose_nothing_and_count_exactly(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        hosts = [join(db, make_experiment(space=line(20)), f"h{n}") for n, db in enumerate([first, second])]
        orphans = [hosts[1].take(x) for x in range(10, 15)]
        kill(first, hosts[1].claimant)
        study_id = hosts[0].status.study_id

        def evaluate() -> None:
            for x in range(10):
                hosts[0].evaluate(x, 0.5)

        def tell_orphans() -> list[TellOutcome]:
            return [hosts[1].tell(claimed, 0.5) for claimed in orphans]

        _, told, *settled = at_once(
            evaluate,
            tell_orphans,
            functools.partial(settle_orphans, first, study_id),
            functools.partial(settle_orphans, second, study_id),
        )
        trials = hosts[0].trials()
        assert [trial.number for trial in trials] == list(range(len(trials)))
        done = Counter(t.params["x"] for t in trials if t.state is TrialState.COMPLETE)
        assert done == dict.fromkeys(range(15), 1)
        assert Counter(told or ())[TellOutcome.LATE] == sum(len(numbers or ()) for numbers in settled)
        assert charged(hosts[0]) == (15, 15, 15)


def test_the_replicates_of_a_trial_that_was_forgotten_are_charged_again(member: Member) -> None:
    forgotten = member.take(5)
    assert member.claims.charge_retry(forgotten, 1)
    member.delete_trial(forgotten.number)
    with member.database.transaction() as connection:
        connection.execute(update(t_study).values(evaluations=0, trials=0))
    ending: dict[str, Any] = {"replicates": ((1.0,), (2.0,)), "begun": 2, "retried": (CRASH,)}
    assert member.tell(forgotten, 1.5, **ending) is TellOutcome.RENEWED
    assert (member.now().trials, member.now().evaluations) == (1, 3)
    assert member.trials()[-1].user_attrs["REPLICATES"] == [[1.0], [2.0]]


def test_constraints_are_kept_however_a_trial_ends(member: Member) -> None:
    kept = {"latency": 3.5, "memory": -math.inf}
    member.tell(member.take(1), 0.5, constraints=kept)
    member.tell(member.take(2), constraints=kept)
    member.tell(member.take(3), is_pruned=True, constraints=kept)
    late(member, lose(member, 4), 0.5, constraints=kept)
    forgotten = member.take(5)
    member.delete_trial(forgotten.number)
    assert member.tell(forgotten, 0.5, constraints=kept) is TellOutcome.RENEWED
    with plain_optuna(member.database) as study:
        found = [trial.constraints for trial in study.trials]
    assert found == [kept, kept, kept, {}, kept, kept]


def test_a_trial_keeps_its_own_constraints_and_not_what_another_program_says(member: Member) -> None:
    with plain_optuna(member.database) as study:
        theirs = {"constraints:latency": 1.0, "constraints:other": 1.0, "fixed_params": {"x": 1}}
        study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=theirs))
        waiting = study.trials[0]._trial_id
        claimed = member.take(1, waiting=waiting)
        assert member.trial(0).constraints == {}
        study._storage.set_trial_system_attr(waiting, "constraints:latency", 5.0)
    member.tell(claimed, 0.5, constraints={"latency": -1.0})
    assert member.trial(0).constraints == {"latency": -1.0}


# Late values


def late(member: Member, claimed: Claimed, *values: float, **ending: Any) -> FrozenTrial:
    """The trial that a value becomes whose own has ended."""
    before = member.trials()
    assert (
        member.tell(
            claimed, *values, intermediate={3: 0.75}, user_attrs={"a": "1"}, retried=(CRASH,), **ending
        )
        is TellOutcome.LATE
    )
    *earlier, trial = member.trials()
    assert earlier == before
    return trial


def test_a_late_value_of_a_free_point_becomes_a_trial_of_its_own(database: Database) -> None:
    member = join(database, make_experiment(space=MIXED))
    params: dict[str, Any] = {"size": 3, "rate": 0.6, "kind": True}
    claimed = member.take(**params)
    abort(member)
    trial = late(member, claimed, 0.25)
    assert (trial.number, trial.state, trial.values) == (1, TrialState.COMPLETE, [0.25])
    assert (trial.params, trial.distributions) == (params, member.encoding.distributions)
    ours = {"HOST": {"host": "h1"}, "LATE_OF": 0, "RETRIED": [CRASH.attribute()]}
    assert trial.user_attrs == {**ours, "a": 1}
    assert (trial.system_attrs, trial.intermediate_values) == ({}, {3: 0.75})
    assert charged(member) == (1, 1, 1)
    assert member.claims.next_freed() is None


def test_a_late_value_is_reused_like_any_other(member: Member) -> None:
    late(member, lose(member, 5), 0.25)
    duplicate = member.repeat(5)
    assert (duplicate.action, duplicate.values, duplicate.twin.number) == (Action.REUSE, (0.25,), 1)


def test_a_late_value_comes_late_once(member: Member) -> None:
    claimed = lose(member, 5)
    told = at_once(*[lambda: member.tell(claimed, 0.25)] * 4)
    assert Counter(told) == {TellOutcome.LATE: 1, TellOutcome.KNOWN: 3}
    assert states(member) == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_late_value_of_a_held_point_leaves_its_claim_to_who_evaluates_it_again(member: Member) -> None:
    lost = lose(member, 5)
    again = member.take(5)
    assert late(member, lost, 0.25).user_attrs["LATE_OF"] == lost.number
    assert (member.now().held, charged(member)) == (1, (2, 2, 1))
    assert member.repeat(5).values == (0.25,)
    assert member.tell(again, 0.5) is TellOutcome.TOLD
    assert member.trial(again.number).values == [0.5]
    assert (member.now().held, charged(member)) == (0, (3, 2, 1))


def test_who_evaluates_again_what_came_late_owes_it_to_nobody_when_aborted(member: Member) -> None:
    lost = lose(member, 5)
    again = member.take(5)
    late(member, lost, 0.25)
    assert abort(member) == [again.number]
    assert (charged(member), point_states(member)) == ((1, 1, 1), {(PointState.DONE, False): 1})
    assert member.claims.next_freed() is None


def test_a_late_value_of_a_failed_point_is_its_value_and_no_second_visit(member: Member) -> None:
    lost = lose(member, 5)
    # Its crash is not charged, because it comes before the first value.
    member.evaluate(5)
    late(member, lost, 0.25)
    assert (charged(member), point_states(member)) == ((1, 1, 1), {(PointState.DONE, False): 1})


def test_a_late_value_of_a_point_that_was_given_up_is_its_value(member: Member) -> None:
    *_, lost = [lose(member, 5) for _ in range(MOST_LOSSES)]
    late(member, lost, 0.25)
    assert (charged(member), point_states(member)) == ((1, 1, 1), {(PointState.DONE, False): 1})


def test_a_late_value_of_a_pruned_point_is_its_value_and_no_second_visit(member: Member) -> None:
    lost = lose(member, 5)
    member.tell(member.take(5), is_pruned=True)
    late(member, lost, 0.25)
    assert (charged(member), point_states(member)) == ((2, 2, 1), {(PointState.DONE, False): 1})


def test_the_last_report_of_a_pruned_trial_never_becomes_a_late_value(member: Member) -> None:
    lost = lose(member, 5)
    assert member.tell(lost, 0.25, is_pruned=True) is TellOutcome.KNOWN
    assert states(member) == [TrialState.FAIL]


def test_a_late_value_of_a_done_point_is_dropped(member: Member) -> None:
    lost = lose(member, 5)
    member.evaluate(5, 0.5)
    before = member.trials(), charged(member)
    assert member.tell(lost, 0.25) is TellOutcome.KNOWN
    assert (member.trials(), charged(member)) == before


def test_a_late_value_of_a_repetition_is_dropped_where_its_point_has_a_value(database: Database) -> None:
    member = join(database, make_experiment(AGAIN))
    first, second = member.take(5), member.take(5)
    abort(member, first)
    member.tell(first, 0.5)
    assert member.tell(second, 0.25) is TellOutcome.KNOWN
    assert states(member) == [TrialState.COMPLETE, TrialState.FAIL]


@pytest.mark.parametrize("limit", ["trials", "evaluations"])
def test_a_late_value_never_overruns_the_budget(database: Database, limit: str) -> None:
    member = join(database, make_experiment(f"[budget]\n{limit} = 1"))
    lost = lose(member, 5)
    member.evaluate(6, 0.5)
    late(member, lost, 0.25)
    assert getattr(member.now(), limit) == 1
    assert member.now().visited == 2


def test_a_late_value_is_kept_in_a_study_that_is_over(member: Member) -> None:
    lost = lose(member, 5)
    set_state(member.database, member.status.study_id, StudyState.CANCELLED)
    late(member, lost, 0.25)
    assert member.now().state is StudyState.CANCELLED


def test_the_last_late_value_exhausts_the_space(database: Database) -> None:
    member = join(database, make_experiment(space=line(2)))
    lost = lose(member, 0)
    member.evaluate(1, 0.5)
    late(member, lost, 0.25)
    assert close_if_over(database, member.status.study_id)


@pytest.mark.parametrize("ending", ["held", "settled"])
def test_a_result_for_a_study_that_was_deleted_is_dropped(member: Member, ending: str) -> None:
    claimed = member.take(5) if ending == "held" else lose(member, 5)
    delete_by_optuna(member.database)
    assert member.tell(claimed, 0.25) is TellOutcome.DROPPED
    assert member.tell(claimed) is TellOutcome.DROPPED


@pytest.mark.parametrize("ending", ["held", "settled"])
def test_a_result_for_a_study_that_was_made_anew_is_dropped(member: Member, ending: str) -> None:
    claimed = member.take(5) if ending == "held" else lose(member, 5)
    delete_by_optuna(member.database)
    anew = join(member.database, member.experiment, "h2")
    again = anew.take(5)
    if ending == "settled":
        abort(anew)
    # As if the database had given all ids again, which SQLite does.
    given_again = replace(
        member.result(claimed, 0.25), study_id=again.study_id, trial_id=again.trial_id, number=again.number
    )
    assert tell(member.database, given_again) is TellOutcome.DROPPED
    assert [trial.values for trial in anew.trials()] == [None]
    assert charged(anew)[2] == 0
