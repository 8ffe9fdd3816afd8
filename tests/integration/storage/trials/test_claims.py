"""One host gets a point, and the others treat it as a duplicate."""

from __future__ import annotations

import functools
import math
from collections import Counter
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from tests.factories import MIXED, Member, at_once, join, line, make_experiment, opened, plain_optuna
from tests.integration.storage.steps import numbers, origins, walk
from tuned.domain.claim import (
    Action,
    Candidate,
    Claimed,
    Closed,
    Duplicate,
    Idle,
    Origin,
    Outcome,
    new_claim_id,
)
from tuned.domain.result import TellOutcome
from tuned.domain.states import PointState
from tuned.storage.database import Database
from tuned.storage.trials.settling import settle_own

# One point, one claim


def test_of_many_who_draw_a_point_at_once_one_gets_it_and_the_others_learn_who(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        hosts = [join(db, make_experiment(), f"h{n}") for n, db in enumerate([first, second] * 4)]
        outcomes = at_once(*(functools.partial(host.draw, 5) for host in hosts))
        [(winner, claimed)] = [(n, o) for n, o in enumerate(outcomes) if isinstance(o, Claimed)]
        twins = {o.twin for o in outcomes if isinstance(o, Duplicate)}
        [twin] = twins
        assert (twin.number, twin.host, twin.state) == (claimed.number, f"h{winner}", PointState.HELD)
        assert numbers(hosts[0].trials()) == list(range(8))


def test_numbers_have_no_gap_and_no_repeat_while_plain_optuna_adds_trials_too(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        hosts = [join(db, make_experiment(), f"h{n}") for n, db in enumerate([first, second])]

        def ours(host: Member, points: range) -> None:
            for x in points:
                host.take(x)

        def theirs() -> None:
            with plain_optuna(first) as study:
                for _ in range(4):
                    study.tell(study.ask(), 0.5)

        at_once(lambda: ours(hosts[0], range(4)), lambda: ours(hosts[1], range(4, 8)), theirs, theirs)
        assert numbers(hosts[0].trials()) == list(range(16))
        assert hosts[0].now().trials == 8


def test_a_claim_writes_the_trial_as_running_with_its_point_and_where_it_came_from(
    database: Database,
) -> None:
    member = join(database, make_experiment(space=MIXED))
    point: dict[str, Any] = {"size": 3, "rate": 0.6, "kind": True}
    claimed = member.take(**point, attributes={"nsga2:generation": 2})
    [trial] = member.trials()
    assert (trial.number, trial.state, trial.params) == (claimed.number, TrialState.RUNNING, point)
    assert trial.user_attrs == {"HOST": {"host": "h1"}}
    assert trial.system_attrs == {"nsga2:generation": 2}
    assert origins(member) == ["sampler"]


# Duplicates


def test_reuse_is_a_complete_trial_with_the_values_of_the_twin_at_once(database: Database) -> None:
    one = join(database, make_experiment(), "h1")
    one.evaluate(5, 0.25)
    other = join(database, make_experiment(), "h2")
    duplicate = other.repeat(5, attributes={"cma:generation": 7})
    assert (duplicate.action, duplicate.number, duplicate.values) == (Action.REUSE, 1, (0.25,))
    trial = other.trial(1)
    assert (trial.state, trial.values, trial.params) == (TrialState.COMPLETE, [0.25], {"x": 5})
    assert trial.user_attrs == {"HOST": {"host": "h2", "msg": "COMPLETE", "number": 0, "HOST_s": "h1"}}
    assert trial.system_attrs == {"cma:generation": 7}
    assert trial.datetime_complete == trial.datetime_start


def test_reuse_copies_infinities_and_all_objectives(database: Database) -> None:
    directions = 'directions = ["minimize", "maximize", "minimize"]'
    member = join(database, make_experiment(directions))
    member.evaluate(1, math.inf, -math.inf, 0.1 + 0.2)
    assert member.repeat(1).values == (math.inf, -math.inf, 0.1 + 0.2)
    assert member.trial(1).values == [math.inf, -math.inf, 0.1 + 0.2]


def test_reuse_copies_the_constraints(database: Database) -> None:
    distributions: dict[str, BaseDistribution] = {"x": IntDistribution(0, 8)}
    old = {"constraints": [1.0]}
    with plain_optuna(database) as study:
        study.add_trial(create_trial(value=7, params={"x": 2}, distributions=distributions, system_attrs=old))
        study.enqueue_trial({"x": 1})
        waiting = study.trials[-1]._trial_id
    member = join(database, make_experiment())
    member.tell(member.take(1), 0.5, constraints={"latency": math.inf, "memory": -1.0})
    member.repeat(1, attributes={"cma:generation": 7})
    member.repeat(1, waiting=waiting)
    member.repeat(2)
    new = {"latency": math.inf, "memory": -1.0}
    assert [trial.constraints for trial in member.trials()] == [{"0": 1.0}, new, new, new, {"0": 1.0}]


def test_what_was_reused_may_be_reused_again_and_names_the_one_that_was_evaluated(database: Database) -> None:
    member = join(database, make_experiment())
    member.evaluate(5, 0.25)
    member.repeat(5)
    assert member.repeat(5).twin.number == 0
    assert member.trial(2).user_attrs["HOST"]["number"] == 0


def test_reuse_of_a_trial_of_plain_optuna_names_no_host(database: Database) -> None:
    with plain_optuna(database) as study:
        study.optimize(lambda trial: trial.suggest_int("x", 0, 8), n_trials=1)
        x = study.trials[0].params["x"]
    member = join(database, make_experiment())
    assert member.repeat(x).values == (float(x),)
    assert member.trial(1).user_attrs["HOST"] == {
        "host": "h1", "msg": "COMPLETE", "number": 0, "HOST_s": None,
    }  # fmt: skip


def test_skip_is_a_failed_trial_at_once(database: Database) -> None:
    one, other = (join(database, make_experiment(), host) for host in ("h1", "h2"))
    one.take(5)
    assert other.repeat(5).action is Action.SKIP
    trial = other.trial(1)
    assert (trial.state, trial.values, trial.params) == (TrialState.FAIL, None, {"x": 5})
    assert trial.user_attrs == {"HOST": {"host": "h2", "msg": "RUNNING", "number": 0, "HOST_s": "h1"}}
    assert trial.datetime_complete is not None


@pytest.mark.parametrize(("policy", "action"), [("wait", Action.WAIT), ("resample", Action.RESAMPLE)])
def test_wait_and_resample_make_no_trial_and_cost_nothing(
    database: Database, policy: str, action: Action
) -> None:
    text = f'[dedup]\non_running = "{policy}"\non_complete = "resample"'
    member = join(database, make_experiment(text))
    claimed = member.take(5)
    duplicate = member.repeat(5)
    assert (duplicate.action, duplicate.number) == (action, None)
    member.tell(claimed, 0.5)
    assert member.repeat(5).action is Action.RESAMPLE
    assert numbers(member.trials()) == [0]
    assert (member.now().trials, member.now().evaluations) == (1, 1)


def test_a_point_that_was_drawn_ahead_is_drawn_again_when_somebody_has_it(database: Database) -> None:
    member = join(database, make_experiment('[dedup]\non_running = "evaluate"'))
    member.take(5)
    stale = Candidate(point=member.point(5), origin=Origin.SAMPLER, is_ahead=True)
    outcome = member.claims.claim(stale)
    assert isinstance(outcome, Duplicate)
    assert (outcome.action, outcome.number, member.now().trials) == (Action.RESAMPLE, None, 1)


def test_evaluate_runs_a_point_again_beside_its_twin_and_counts_it_as_visited_once(
    database: Database,
) -> None:
    member = join(database, make_experiment('[dedup]\non_complete = "evaluate"\non_running = "evaluate"'))
    claims = [member.take(5), member.take(5)]
    assert member.now().held == 2
    assert [member.tell(claimed, 0.5 + n) for n, claimed in enumerate(claims)] == [TellOutcome.TOLD] * 2
    claims.append(member.take(5))
    member.tell(claims[2], 7.0)
    assert [trial.values for trial in member.trials()] == [[0.5], [1.5], [7.0]]
    assert [trial.user_attrs for trial in member.trials()] == [{"HOST": {"host": "h1"}}] * 3
    assert (member.now().visited, member.now().held, member.now().evaluations) == (1, 0, 3)


@pytest.mark.parametrize("policy", ["reuse", "resample", "evaluate"])
def test_a_failed_point_is_always_drawn_again(database: Database, policy: str) -> None:
    member = join(database, make_experiment(f'[dedup]\non_complete = "{policy}"'))
    member.evaluate(5)
    assert member.repeat(5).action is Action.RESAMPLE
    assert numbers(member.trials()) == [0]


@pytest.mark.parametrize("origin", [Origin.POINTS, Origin.FREED, Origin.WALK])
def test_a_point_that_nobody_drew_by_accident_is_never_a_trial_twice(
    database: Database, origin: Origin
) -> None:
    member = join(database, make_experiment('[dedup]\non_complete = "evaluate"\non_running = "evaluate"'))
    claimed = member.take(5, origin=origin)
    assert member.repeat(5, origin=origin).action is Action.RESAMPLE
    member.tell(claimed, 0.5)
    assert member.repeat(5, origin=origin).action is Action.RESAMPLE
    assert origins(member) == [origin.value]


def test_a_freed_point_is_claimed_again_as_a_new_trial(database: Database) -> None:
    member = join(database, make_experiment())
    member.take(5)
    settle_own(database, member.status.study_id, member.claimant.incarnation, but_not=[])
    freed = member.claims.next_freed()
    assert freed is not None
    assert (freed.point, freed.origin) == (member.point(5), Origin.FREED)
    assert isinstance(member.claims.claim(freed), Claimed)
    assert [trial.state for trial in member.trials()] == [TrialState.FAIL, TrialState.RUNNING]
    assert member.claims.next_freed() is None


# Enqueued by plain Optuna


def enqueue(database: Database, extra: str = "") -> Member:
    """Trial 0 waits, for x = 5."""
    with plain_optuna(database) as study:
        study.enqueue_trial({"x": 5}, user_attrs={"memo": "mine"})
    return join(database, make_experiment(extra))


@pytest.fixture
def enqueued(database: Database) -> Member:
    return enqueue(database)


def test_an_enqueued_trial_becomes_the_running_one(enqueued: Member) -> None:
    [waiting] = enqueued.now().waiting
    claimed = enqueued.take(5, waiting=waiting)
    assert (claimed.trial_id, claimed.number) == (waiting, 0)
    [trial] = enqueued.trials()
    assert (trial.state, trial.params) == (TrialState.RUNNING, {"x": 5})
    assert trial.user_attrs == {"memo": "mine", "HOST": {"host": "h1"}}
    assert trial.system_attrs == {"fixed_params": {"x": 5}}
    assert origins(enqueued) == ["enqueued"]
    assert enqueued.now().waiting == ()


def test_an_enqueued_trial_is_started_once(enqueued: Member) -> None:
    [waiting] = enqueued.now().waiting
    enqueued.take(5, waiting=waiting)
    assert enqueued.draw(6, waiting=waiting) == Closed()
    assert enqueued.now().trials == 1


@pytest.mark.parametrize("policy", ["reuse", "resample"])
def test_an_enqueued_duplicate_of_a_done_point_ends_as_reused(database: Database, policy: str) -> None:
    member = enqueue(database, f'[dedup]\non_complete = "{policy}"')
    member.evaluate(5, 0.5)
    [waiting] = member.now().waiting
    assert member.repeat(5, waiting=waiting).action is Action.REUSE
    trial = member.trial(0)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.5])
    assert trial.user_attrs["HOST"] == {"host": "h1", "msg": "COMPLETE", "number": 1, "HOST_s": "h1"}


@pytest.mark.parametrize("values", [[], [None]], ids=["held", "failed"])
def test_an_enqueued_duplicate_of_a_point_without_value_ends_as_skipped(
    enqueued: Member, values: list[None]
) -> None:
    claimed = enqueued.take(5)
    if values:
        enqueued.tell(claimed)
    [waiting] = enqueued.now().waiting
    assert enqueued.repeat(5, waiting=waiting).action is Action.SKIP
    trial = enqueued.trial(0)
    assert (trial.state, trial.user_attrs["HOST"]["number"]) == (TrialState.FAIL, 1)


def test_a_waiting_trial_that_has_its_parameters_already_can_be_claimed(database: Database) -> None:
    distribution = optuna.distributions.IntDistribution(0, 8)
    with plain_optuna(database) as study:
        study.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING,
                params={"x": 5},
                distributions={"x": distribution},
                user_attrs={"HOST": "mine", "why": "a guess"},
            )
        )
    member = join(database, make_experiment())
    [waiting] = member.now().waiting
    member.take(5, waiting=waiting)
    assert member.trial(0).params == {"x": 5}
    assert member.trial(0).user_attrs == {"HOST": {"host": "h1"}, "why": "a guess"}


# The walk


def test_the_fleet_walks_each_point_once_and_then_is_idle(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        experiment = make_experiment(space=line(40))
        hosts = [join(db, experiment, f"h{n}") for n, db in enumerate([first, second] * 2)]

        def walk_on(host: Member) -> list[Outcome]:
            return list(iter(lambda: walk(host), Idle()))

        claimed = [outcome for mine in at_once(*map(functools.partial(functools.partial, walk_on), hosts))
                   for outcome in mine]  # fmt: skip
        visits = Counter(o.point.values["x"] for o in claimed if isinstance(o, Claimed))
        assert visits == dict.fromkeys(range(40), 1)
        assert len(claimed) == 40


def test_the_walk_passes_over_what_was_drawn_and_over_what_is_being_evaluated(database: Database) -> None:
    member = join(database, make_experiment(space=line(4)))
    member.evaluate(1, 0.5)
    member.take(2)
    walked = [walk(member), walk(member)]
    assert {o.point.values["x"] for o in walked if isinstance(o, Claimed)} == {0, 3}
    assert walk(member) == Idle()


def test_the_order_of_the_walk_comes_from_the_seed(database: Database) -> None:
    def order(name: str, seed: int) -> list[object]:
        member = join(database, make_experiment(f"[sampler]\nseed = {seed}", name=name))
        walked = [walk(member) for _ in range(9)]
        return [o.point.values["x"] for o in walked if isinstance(o, Claimed)]

    assert order("a", 1) == order("b", 1) != order("c", 2)


def test_a_study_that_was_deleted_refuses(database: Database) -> None:
    member = join(database, make_experiment())
    with plain_optuna(database) as study:
        optuna.delete_study(study_name="exp", storage=study._storage)
    assert member.draw(1) == walk(member) == Closed()


# Commits of unknown outcome


def test_a_claim_whose_commit_had_an_unknown_outcome_is_found_by_its_id(database: Database) -> None:
    member = join(database, make_experiment(space=MIXED))
    claimed = member.take(size=3, rate=0.6, kind=True)
    found = member.claims.find(claimed.candidate.claim_id, Origin.SAMPLER)
    assert found == claimed


def test_a_claim_that_did_not_happen_or_is_over_is_not_found(database: Database) -> None:
    member = join(database, make_experiment())
    assert member.claims.find(new_claim_id(), Origin.WALK) is None
    told, orphan = member.take(1), member.take(2)
    member.tell(told, 0.5)
    restarted = join(database, make_experiment())
    assert restarted.claims.find(told.candidate.claim_id, Origin.SAMPLER) is None
    assert restarted.claims.find(orphan.candidate.claim_id, Origin.SAMPLER) is None
