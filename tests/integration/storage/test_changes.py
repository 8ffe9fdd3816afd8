"""Operators change a study: they retry failed points, or replace its budget."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.factories import CRASH, Member, join, kill, line, make_claimant, make_experiment
from tuned.domain.claim import Closed, Origin
from tuned.domain.ending import Cause, Ending, Failure
from tuned.domain.result import TellOutcome
from tuned.domain.states import HostState, StudyState
from tuned.errors import Conflict
from tuned.experiment.experiment import Experiment
from tuned.storage import hosts as hosts_module
from tuned.storage.changes import change_budget, free_failed
from tuned.storage.database import Database
from tuned.storage.queries import experiments
from tuned.storage.settling import settle_orphans
from tuned.storage.studies import close_if_over, set_state
from tuned.storage.tells import tell

# Hosts


def test_what_each_host_holds_is_counted_by_its_incarnation(database: Database) -> None:
    one, other = (join(database, make_experiment(), host) for host in ("h1", "h2"))
    for x in range(3):
        one.take(x)
    other.take(5)
    other.evaluate(6, 0.5)
    assert hosts_module.held(database) == {one.claimant.incarnation: 3, other.claimant.incarnation: 1}


def test_who_says_goodbye_has_stopped_and_who_is_found_dead_has_not(database: Database) -> None:
    stopped, dead = (make_claimant(database, host) for host in ("h1", "h2"))
    hosts_module.leave(
        database, stopped.incarnation, hosts_module.HostInfo(state=HostState.DRAINING, slots=2)
    )
    kill(database, dead)
    rows = {row.name: row for row in hosts_module.hosts(database)}
    assert (rows["h1"].dead, rows["h1"].info) == (
        True,
        hosts_module.HostInfo(state=HostState.STOPPED, slots=2),
    )
    assert (rows["h2"].dead, rows["h2"].info) == (True, hosts_module.HostInfo())


# Failed points, once more


def fail(member: Member, x: int, failure: Failure = CRASH) -> None:
    ended = replace(member.result(member.take(x)), ending=Ending(failure=failure))
    assert tell(member.database, ended) is TellOutcome.TOLD


def test_a_retried_point_is_free_unvisited_and_ahead_of_what_is_drawn(database: Database) -> None:
    member = join(database, make_experiment())
    member.evaluate(1, 0.5)
    fail(member, 2)
    assert member.now().visited == 2
    assert free_failed(database, member.status.study_id, None) == 1
    assert (member.now().visited, member.now().free) == (1, 1)
    freed = member.claims.next_freed()
    assert freed is not None
    assert (freed.point.values, freed.origin) == ({"x": 2}, Origin.FREED)
    member.tell(member.take(2, origin=Origin.FREED), 0.25)
    assert (member.now().visited, member.now().free, member.now().trials) == (2, 0, 3)


def test_only_what_failed_for_the_cause_is_retried(database: Database) -> None:
    member = join(database, make_experiment())
    fail(member, 1)
    fail(member, 2, Failure(cause=Cause.TIMEOUT, message='"cause": "exit"'))
    assert free_failed(database, member.status.study_id, Cause.EXIT) == 1
    assert experiments.story(database, "exp", 0)["point"] == {
        "state": "free", "trial": 0, "host": "h1", "late_of": None, "losses": 0,
    }  # fmt: skip
    assert free_failed(database, member.status.study_id, Cause.OOM) == 0


def test_a_point_that_was_given_up_may_be_lost_as_often_again(database: Database) -> None:
    hosts = [join(database, make_experiment(), f"h{n}") for n in range(3)]
    for member in hosts:
        member.take(1, origin=Origin.FREED)
        kill(database, member.claimant)
        settle_orphans(database, member.status.study_id)
    member = hosts[0]
    assert member.now().visited == 1
    assert free_failed(database, member.status.study_id, Cause.LOST) == 1
    point = experiments.story(database, "exp", 2)["point"]
    assert point is not None
    assert (point["state"], point["losses"], member.now().visited) == ("free", 0, 0)


def test_a_retry_opens_a_done_study_unless_its_budget_is_full(database: Database) -> None:
    exhausted = join(database, make_experiment(space=line(2)))
    exhausted.evaluate(0, 0.5)
    fail(exhausted, 1)
    full = join(database, make_experiment("[budget]\ntrials = 1", name="full"), claimant=exhausted.claimant)
    fail(full, 1)
    for member, state in ((exhausted, StudyState.OPEN), (full, StudyState.DONE)):
        assert close_if_over(database, member.status.study_id)
        assert free_failed(database, member.status.study_id, None) == 1
        assert member.now().state is state
    exhausted.take(1, origin=Origin.FREED)
    assert full.draw(1, origin=Origin.FREED) == Closed()


def test_a_cancelled_study_is_not_retried(database: Database) -> None:
    member = join(database, make_experiment())
    fail(member, 1)
    set_state(database, member.status.study_id, StudyState.CANCELLED)
    with pytest.raises(Conflict, match="cancelled"):
        free_failed(database, member.status.study_id, None)
    assert member.now().free == 0


def test_a_repetition_on_purpose_that_failed_is_not_retried(database: Database) -> None:
    member = join(database, make_experiment('[dedup]\non_complete = "evaluate"'))
    member.evaluate(1, 0.5)
    fail(member, 1)
    assert free_failed(database, member.status.study_id, None) == 0
    assert member.now().visited == 1


# Another budget


def budget(trials: int, more: str = "") -> Experiment:
    return make_experiment(f"{more}\n[budget]\ntrials = {trials}")


def test_another_budget_is_in_force_at_once(database: Database) -> None:
    member = join(database, budget(1))
    member.take(1)
    assert member.draw(2) == Closed()
    change_budget(database, member.status.study_id, budget(2))
    member.take(2)
    assert member.draw(3) == Closed()
    assert (member.now().trials_limit, member.now().definition) == (2, budget(2).definition())


def test_a_larger_budget_opens_a_done_study_and_a_smaller_one_ends_it(database: Database) -> None:
    member = join(database, budget(1))
    study_id = member.status.study_id
    member.evaluate(1, 0.5)
    assert close_if_over(database, study_id)
    for trials, state in ((1, StudyState.DONE), (3, StudyState.OPEN), (2, StudyState.OPEN)):
        change_budget(database, study_id, budget(trials))
        assert member.now().state is state
    member.evaluate(2, 0.5)
    assert close_if_over(database, study_id)


def test_only_the_budget_can_be_changed_and_all_else_that_differs_is_told(database: Database) -> None:
    member = join(database, budget(1))
    other = make_experiment('direction = "maximize"\n[budget]\ntrials = 5', space=line(3))
    with pytest.raises(Conflict, match=r"differs too: directions: .*; space.x.high: ") as refused:
        change_budget(database, member.status.study_id, other)
    assert "budget.trials" not in str(refused.value)
    assert member.now().definition == budget(1).definition()


def test_a_file_with_another_budget_only_is_refused_with_a_hint(database: Database) -> None:
    join(database, budget(1))
    with pytest.raises(Conflict, match=r"budget.trials: 2 here, 1 in the database; .*--replace"):
        join(database, budget(2))
    with pytest.raises(Conflict) as refused:
        join(database, budget(2, 'direction = "maximize"'))
    assert "--replace" not in str(refused.value)
