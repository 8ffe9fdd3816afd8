"""All interleavings of the protocol between two hosts, for small sizes; and that a broken rule is seen.

In one story come at most as many disturbances as ``Rules.disturbances`` says, one if nothing is said: a
crash, a daemon that dies alone or whose runs do, a freeze, an outage of one host or of all, a commit whose
outcome is unknown, a database that forgets the last step. Their ends may come at any time.
``-s`` shows how many states there are, and the shortest story of each rule that was taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from sqlalchemy import Update, bindparam, func, select

from tests.factories import line, make_experiment
from tests.fleet.model import Explored, explore, stored
from tests.fleet.program import Program, is_end
from tests.fleet.steps import ALL_KINDS, KINDS, Rules
from tests.fleet.store import Store, Violation
from tests.fleet.world import Host, PendingResult
from tuned.daemon.failure_detector import FailureDetector
from tuned.domain import ending
from tuned.domain.result import TellOutcome
from tuned.storage.hosts import HostRow
from tuned.storage.tables.schema import t_trial, trials
from tuned.storage.trials import budget, ends, settling, tells
from tuned.storage.trials import sick as sick_module
from tuned.storage.trials.claims import Claims

#: They compute for half a minute; on a machine that does much else, for minutes.
pytestmark = pytest.mark.timeout(600)


def run(points: int, extra: str = "", **rules: Any) -> Explored:
    with stored(make_experiment(extra, space=line(points))) as store:
        return search(store, **rules)


def search(store: Store, **rules: Any) -> Explored:
    explored = explore(store, Rules(**rules))
    say(explored)
    return explored


def story(*kinds: str) -> str:
    """The shortest one with a bad end, of one point."""
    with pytest.raises(Violation) as caught:
        run(1, kinds=frozenset(kinds))
    say(caught.value)
    return str(caught.value)


def say(what: object) -> None:
    print(f"\n{what}")  # noqa: T201 (``-s`` shows it)


def without(statement: Update, word: str) -> Update:
    """The statement without the condition that has this word."""
    copy: Any = statement.where()
    [condition] = [each for each in copy._where_criteria if word in str(each)]
    copy._where_criteria = tuple(each for each in copy._where_criteria if each is not condition)
    return cast("Update", copy)


# Promises


@pytest.fixture(scope="module")
def two_points() -> Iterator[Store]:
    """Kept for all tests of a worker: most of what they ask is the same."""
    with stored(make_experiment(space=line(2))) as store:
        yield store


@pytest.mark.parametrize("kind", sorted(ALL_KINDS))
def test_two_points_and_one_disturbance(two_points: Store, kind: str) -> None:
    assert len(search(two_points, kinds=frozenset({kind})).worlds) > 100


@pytest.mark.parametrize("kinds", [("crash", "unknown"), ("forget", "unknown")], ids=", ".join)
def test_one_point_and_two_disturbances(kinds: tuple[str, ...]) -> None:
    run(1, kinds=frozenset(kinds), disturbances=2)


#: Disturbances that make many states are left to one point.
SIZES = pytest.mark.parametrize(("points", "kinds"), [(1, KINDS), (2, frozenset({"crash", "unknown"}))])


@SIZES
def test_a_budget_of_two_trials_while_a_sampler_draws_any_point(points: int, kinds: frozenset[str]) -> None:
    run(points, "[budget]\ntrials = 2", kinds=kinds, is_sampled=True)


@SIZES
def test_a_budget_of_two_evaluations_while_crashed_ones_are_tried_again(
    points: int, kinds: frozenset[str]
) -> None:
    run(points, "[budget]\nevaluations = 2", kinds=kinds, retries=1)


def test_a_point_that_is_failed_by_its_loss_has_its_value_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "MOST_LOSSES", 1)
    explored = run(1)
    ends = [world for world in explored.worlds if world.tables.study.state == "done" and world.finished]
    assert any(row.is_late for world in ends for row in world.tables.trials)


#: The first value reaches it.
TARGET = "[budget]\ntarget = 1"
ABORT = f'{TARGET}\nwhen_over = "abort"'


@pytest.mark.parametrize(
    ("limits", "kind"),
    [(TARGET, "crash"), (TARGET, "unknown"), (ABORT, "crash")],
    ids=["crash", "unknown", "crash, and what runs is killed"],
)
def test_the_first_value_of_two_points_ends_the_search(limits: str, kind: str) -> None:
    explored = run(2, limits, kinds=frozenset({kind}))
    ends = [world.tables for world in explored.worlds if is_end(world)]
    assert any(len(tables.points) == 1 for tables in ends)


def test_a_trial_that_waits_for_another_try_is_killed_at_the_end_of_the_search() -> None:
    explored = run(2, ABORT, kinds=frozenset({"unknown"}), retries=1)
    killed = {ended for world in explored.worlds for host in world.hosts for _, ended in host.killed}
    assert killed == {0, 1}


@pytest.mark.parametrize("kind", ["freeze", "forget"])
def test_a_value_that_is_late_or_forgotten_counts_once(kind: str) -> None:
    run(1, f"{ABORT}\nstalled = 9", kinds=frozenset({kind}))


def test_of_a_pruning_and_a_value_of_one_claim_the_first_ends_its_trial() -> None:
    explored = run(1, prunes=True)
    ended = [world.tables for world in explored.worlds if world.tables.study.state == "done"]
    states = [{row.state for row in tables.trials} for tables in ended]
    assert {"COMPLETE"} in states
    assert {"PRUNED"} in states
    # A value that comes after its point was pruned elsewhere is kept too.
    assert any({"PRUNED", "COMPLETE"} <= each for each in states)


def sick(monkeypatch: pytest.MonkeyPatch, points: int, kinds: frozenset[str], extra: str = "") -> Explored:
    """Any evaluation may crash, and one crash makes a row."""
    monkeypatch.setattr(ending, "MOST_CRASHES_IN_A_ROW", 1)
    with stored(make_experiment(extra, space=line(points))) as store:
        store.has_sick = True
        return search(store, kinds=kinds, retries=0, has_sick=True)


@pytest.mark.parametrize("kind", ["crash", "unknown"])
def test_crashes_of_a_sick_host_are_given_back_once_and_before_the_end(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    explored = sick(monkeypatch, 2, frozenset({kind}))
    assert any(row.cause == "host" for world in explored.worlds for row in world.tables.trials)


# Violations that are seen if a rule is taken out


def test_without_giving_back_before_the_end_a_study_ends_by_a_sick_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sick_module, "give_back", lambda *_: [])
    with pytest.raises(Violation, match="on a sick host was not given back") as caught:
        sick(monkeypatch, 2, frozenset())
    say(caught.value)


def test_without_a_mark_on_what_was_given_back_it_is_refunded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sick_module, "_note", lambda *_: None)
    with pytest.raises(Violation, match="trials are charged of") as caught:
        sick(monkeypatch, 2, frozenset())
    say(caught.value)


def test_without_the_fence_a_finished_row_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tells, "_FINISH", without(tells._FINISH, "trials.state"))
    assert "a finished row changed" in story("freeze")


def test_without_the_claim_in_the_fence_a_wrong_trial_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The database gives the ids of trials again: here the newest one stands for the id that was given again.
    newest = select(func.max(t_trial.c.trial_id)).where(bindparam("claim") != "").scalar_subquery()
    unfenced = without(tells._FINISH, "claim_id").where(trials.c.trial_id == newest)
    monkeypatch.setattr(tells, "_FINISH", unfenced)
    with pytest.raises(Violation) as caught:
        run(2, kinds=frozenset({"forget"}))
    say(caught.value)


def test_without_telling_again_a_forgotten_value_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Program, "_reconcile", lambda *_: iter(()))
    assert "nothing leads to an end" in story("forget")


def test_without_keeping_what_the_database_knew_already_a_forgotten_value_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Program._told

    def told_and_discarded(
        program: Program, host: Host, pending: PendingResult, became: TellOutcome | None
    ) -> Host:
        is_known = became is TellOutcome.KNOWN
        return told(program, host, pending, TellOutcome.DROPPED if is_known else became)

    monkeypatch.setattr(Program, "_told", told_and_discarded)
    with pytest.raises(Violation, match="the value of point 0 is lost") as caught:
        run(1, kinds=frozenset({"forget", "unknown"}), disturbances=2)
    say(caught.value)


def test_without_a_new_watch_after_a_gap_an_outage_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    look = FailureDetector.look

    def look_without_gaps(watch: FailureDetector, rows: list[HostRow], now: float) -> list[HostRow]:
        watch._last_look = None
        return look(watch, rows, now)

    monkeypatch.setattr(FailureDetector, "look", look_without_gaps)
    monkeypatch.setattr(FailureDetector, "blink", lambda _: None)
    assert "was taken for dead" in story("blackout")


def test_without_the_look_whether_the_claimant_lives_a_dead_host_is_given_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unasked = without(budget._CHARGE_NEW, "t_host.dead").where(bindparam("claimant") != "")
    monkeypatch.setattr(budget, "_CHARGE_NEW", unasked)
    assert "is given to an incarnation that is dead" in story("freeze")


def test_without_finding_an_unknown_claim_its_trial_runs_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Claims, "find", lambda *_: None)
    # The comparison with the database would settle the trial.
    monkeypatch.setattr(Program, "_settle", lambda *_: iter(()))
    assert "nothing leads to an end" in story("unknown")


def test_without_letting_go_of_a_claim_under_way_both_hosts_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Program, "is_ours", lambda *_: True)
    assert "both hosts evaluate point 0" in story("freeze")


def test_without_the_look_whether_the_search_has_ended_a_point_is_given_after_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "_CHARGE_NEW", without(budget._CHARGE_NEW, "ended_by"))
    with pytest.raises(Violation, match="a point is given after the commit that ended the search") as caught:
        run(2, TARGET, kinds=frozenset())
    say(caught.value)


def test_without_judging_late_values_a_search_goes_on_that_has_reached_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ends, "judge", lambda *_, **__: {"better": None})
    with pytest.raises(Violation, match="a trial has reached the target, and the search goes on") as caught:
        run(1, TARGET, kinds=frozenset({"freeze"}))
    say(caught.value)
