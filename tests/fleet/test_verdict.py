"""The verdict on a fleet finds each broken promise, and excuses only what a fault explains."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState

from tests.fleet.hosts import DEADLY_SECONDS, FleetHost, Freeze
from tests.fleet.lapse import Lapse
from tests.fleet.ledger import Evaluation, now
from tests.fleet.verdict import Budget, Study

SPACE = IntDistribution(0, 9)
LOST: dict[str, Any] = {"FAILURE": {"cause": "lost"}}

#: The ledger's clock, a while ago.
ORIGIN = now() - 1000


def evaluation(trial: int, began: float, ended: float | None, *, host: str = "h0", x: int = 1) -> Evaluation:
    return Evaluation(
        experiment="exp", x=x, claim=str(trial), attempt=1, host=host, started=ORIGIN + began,
        ended=None if ended is None else ORIGIN + ended, value=None if ended is None else x * 3 + 1.0,
    )  # fmt: skip


def trial(number: int, began: float, ended: float, *, host: str = "h0", **attributes: Any) -> FrozenTrial:
    """COMPLETE, unless an attribute says why not."""
    is_failed = "FAILURE" in attributes
    return FrozenTrial(
        number=number, trial_id=number, state=TrialState.FAIL if is_failed else TrialState.COMPLETE,
        value=None if is_failed else 4.0, datetime_start=at(began), datetime_complete=at(ended),
        params={"x": 1}, distributions={"x": SPACE}, intermediate_values={},
        user_attrs={"HOST": {"host": host}, **attributes}, system_attrs={},
    )  # fmt: skip


def at(moment: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(time.time() - now() + ORIGIN + moment)  # noqa: DTZ006 (as Optuna has it)


@pytest.fixture
def hosts(tmp_path: Path) -> dict[str, FleetHost]:
    return {name: FleetHost(tmp_path / name, storage="sqlite://") for name in ("h0", "h1")}


def broken(
    hosts: dict[str, FleetHost],
    trials: list[FrozenTrial],
    evaluations: list[Evaluation],
    budget: Budget | None = None,
    lapses: Sequence[Lapse] = (),
) -> set[str]:
    study = optuna.create_study()
    study.add_trials(trials)
    claims = {str(trial.number): trial.number for trial in trials}
    verdict = Study(study, evaluations, hosts, set(), claims=claims, lapses=lapses).judge(
        budget or Budget(points=1)
    )
    return {promise for promise, what in verdict.broken.items() if what}


def test_one_evaluation_of_a_point_breaks_nothing(hosts: dict[str, FleetHost]) -> None:
    assert broken(hosts, [trial(0, 0, 2)], [evaluation(0, 0, 1)]) == set()


def test_an_evaluation_after_a_value_is_found(hosts: dict[str, FleetHost]) -> None:
    trials = [trial(0, 0, 2), trial(1, 3, 5, host="h1")]
    found = broken(hosts, trials, [evaluation(0, 0, 1), evaluation(1, 3, 4, host="h1")])
    assert found == {"evaluated after having a value"}


def test_a_point_on_two_hosts_is_found_unless_one_was_frozen_or_killed(hosts: dict[str, FleetHost]) -> None:
    trials = [trial(0, 0, 10, **LOST), trial(1, 7, 9, host="h1")]
    evaluations = [evaluation(0, 0, 20), evaluation(1, 7, 8, host="h1")]
    assert broken(hosts, trials, evaluations) == {"held by two live hosts", "taken for dead without cause"}
    hosts["h0"].freezes.append(Freeze(began=ORIGIN + 1, ended=ORIGIN + 1 + DEADLY_SECONDS / 2))
    assert broken(hosts, trials, evaluations) == {"held by two live hosts", "taken for dead without cause"}
    hosts["h0"].freezes.append(Freeze(began=ORIGIN + 2, ended=ORIGIN + 30))
    assert broken(hosts, trials, evaluations) == set()


def test_a_value_without_a_trial_is_found_unless_its_daemon_died_with_it(hosts: dict[str, FleetHost]) -> None:
    trials = [trial(0, 0, 2, **LOST)]
    hosts["h0"].stops.append(ORIGIN + 1.5)
    assert "results lost" not in broken(hosts, trials, [evaluation(0, 0, 1)])
    hosts["h0"].stops[:] = [ORIGIN + 1.5 + 100]
    assert "results lost" in broken(hosts, trials, [evaluation(0, 0, 1)])


@pytest.mark.parametrize("budget", [Budget(points=9, trials=2), Budget(points=9, evaluations=2)])
def test_a_budget_that_was_not_met_or_overrun_is_found(hosts: dict[str, FleetHost], budget: Budget) -> None:
    assert "off the budget" in broken(hosts, [trial(0, 0, 2)], [evaluation(0, 0, 1)], budget)
    trials = [trial(number, number, number + 0.5) for number in range(3)]
    evaluations = [evaluation(number, number, number + 0.4) for number in range(3)]
    assert "off the budget" not in broken(hosts, trials[:2], evaluations[:2], budget)
    assert "off the budget" in broken(hosts, trials, evaluations, budget)


def test_failures_before_the_first_value_may_cost_nothing(hosts: dict[str, FleetHost]) -> None:
    failed: dict[str, Any] = {"FAILURE": {"cause": "exit"}}
    trials = [trial(0, 0, 1, **failed), trial(1, 1, 2), trial(2, 2, 3, **failed)]
    evaluations = [evaluation(number, number, number + 0.5) for number in range(3)]
    for name in ("trials", "evaluations"):
        for limit, is_kept in ((1, False), (2, True), (3, True), (4, False)):
            found = broken(hosts, trials, evaluations, Budget(points=9, **{name: limit}))
            assert ("off the budget" not in found) is is_kept


def test_without_its_daemon_a_host_loses_only_what_had_not_begun(hosts: dict[str, FleetHost]) -> None:
    lost, cause = [trial(0, 0, 4, **LOST)], "taken for dead without cause"
    hosts["h0"].absences.append(Freeze(began=ORIGIN + 1, ended=ORIGIN + 2))
    assert cause not in broken(hosts, lost, [])
    assert cause in broken(hosts, lost, [evaluation(0, 0, None)])
    hosts["h0"].absences[0].ended = ORIGIN + 1 + DEADLY_SECONDS
    assert cause not in broken(hosts, [trial(0, 0, 10, **LOST)], [evaluation(0, 0, None)])


def test_a_process_without_a_claim_is_found(hosts: dict[str, FleetHost]) -> None:
    assert "evaluated without a claim" in broken(hosts, [trial(0, 0, 2)], [evaluation(0, 0, 1, host="h1")])


def test_a_claim_that_was_forgotten_excuses_who_could_not_know_of_it(hosts: dict[str, FleetHost]) -> None:
    trials = [trial(0, 7, 9, host="h1")]
    evaluations = [evaluation(1, 0, 20), evaluation(0, 7, 8, host="h1")]
    found = {"evaluated without a claim", "held by two live hosts"}
    lapses = [Lapse(began=ORIGIN - 1, ended=ORIGIN + 5, claims=frozenset({"1"}))]
    assert broken(hosts, trials, evaluations) == found
    assert broken(hosts, trials, evaluations, lapses=lapses) == set()
    lapses = [Lapse(began=ORIGIN - 1, ended=ORIGIN + 7.5, claims=frozenset({"1"}))]
    assert broken(hosts, trials, evaluations, lapses=lapses) == {"held by two live hosts"}


def test_what_was_forgotten_may_be_charged_or_not(hosts: dict[str, FleetHost]) -> None:
    trials = [trial(number, number, number + 0.5) for number in range(3)]
    evaluations = [evaluation(number, number, number + 0.4) for number in range(3)]
    lapses = [Lapse(began=ORIGIN, ended=ORIGIN + 5, claims=frozenset({"2"}))]
    for budget in (Budget(points=9, trials=2), Budget(points=9, evaluations=2)):
        assert "off the budget" not in broken(hosts, trials, evaluations, budget, lapses)
    for budget in (Budget(points=9, trials=1), Budget(points=9, evaluations=1)):
        assert "off the budget" in broken(hosts, trials, evaluations, budget, lapses)


def test_a_value_that_was_forgotten_and_not_told_again_is_lost(hosts: dict[str, FleetHost]) -> None:
    lapses = [Lapse(began=ORIGIN, ended=ORIGIN + 5, claims=frozenset({"1"}))]
    assert "results lost" in broken(hosts, [trial(0, 0, 2, **LOST)], [evaluation(1, 0, 1)], lapses=lapses)
