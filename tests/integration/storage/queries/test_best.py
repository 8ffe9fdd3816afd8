"""The best trials are those that Optuna names."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.study import StudyDirection
from optuna.study._multi_objective import _get_pareto_front_trials_by_trials
from optuna.trial import create_trial

from tests.integration.storage.queries.worlds import INFINITY, Direction, World, trial_of
from tuned.domain.claim import Claimed, Duplicate
from tuned.domain.space import Value
from tuned.protocol.trials import BestView
from tuned.storage.queries import experiments
from tuned.storage.queries.best import pareto_front

OBJECTIVES: tuple[list[Direction], ...] = (
    ["minimize"],
    ["maximize"],
    ["minimize", "maximize"],
    ["maximize", "maximize", "minimize"],
)


def bests(world: World, study_id: int, limit: int | None = None) -> list[BestView]:
    return experiments.best(world.database, study_id, limit)["best"]


@pytest.mark.parametrize("directions", OBJECTIVES, ids="-".join)
def test_the_best_are_those_that_optuna_names(world: World, directions: list[Direction]) -> None:
    generator = random.Random(len(directions))
    numbers = [-INFINITY, -1.0, 0.0, 0.5, 1.0, INFINITY]
    search = world.search(text=f"directions = {json.dumps(directions)}")
    for _ in range(25):
        size = generator.randint(1, 9)
        kinds: list[Value] = ["a", True]
        drawn = search.draw(size, rate=generator.choice([0.2, 0.8]), kind=generator.choice(kinds))
        # Failing ones and duplicates are among them.
        if isinstance(drawn, Claimed) and generator.random() < 0.9:
            search.end(drawn, *(generator.choice(numbers) for _ in directions))
    with world.optuna(directions=directions) as study:
        expected = [(t.number, t.values, t.params) for t in study.best_trials]
    found = [(b["number"], b["values"], b["params"]) for b in bests(world, search.study_id)]
    # Optuna's front of a single objective has all that are equal; ours is the first of them.
    assert found == (expected if len(directions) > 1 else expected[:1])


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.tuples(*[st.sampled_from([-INFINITY, -1.0, -0.0, 0.0, 1.0, 2.0, INFINITY])] * n), max_size=30
        )
    )
)
def test_the_front_is_that_of_optuna(losses: list[tuple[float, ...]]) -> None:
    trials = [create_trial(values=each) for each in losses]
    directions = [StudyDirection.MINIMIZE] * (len(losses[0]) if losses else 1)
    expected = {tuple(t.values) for t in _get_pareto_front_trials_by_trials(trials, directions)}
    assert set(pareto_front(losses)) == expected


@pytest.mark.parametrize("worst", [INFINITY, 3.0])
def test_infinite_values_are_ordered_like_any(world: World, worst: float) -> None:
    search = world.search(text='direction = "maximize"')
    search.evaluate(1, worst)
    search.evaluate(2, -INFINITY)
    assert [b["values"] for b in bests(world, search.study_id)] == [[worst]]


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "minimize"]], ids=len)
def test_a_reused_trial_is_never_shown_before_the_evaluated_one(
    world: World, directions: list[Direction]
) -> None:
    search = world.search(text=f"directions = {json.dumps(directions)}")
    values = [0.5] * len(directions)
    with world.optuna(directions=directions) as study:
        study.enqueue_trial({"size": 1})
        waiting = study.trials[0]._trial_id
    search.evaluate(1, *values)
    search.evaluate(2, *values)
    assert isinstance(search.draw(1, waiting=waiting), Duplicate)
    found = [b["number"] for b in bests(world, search.study_id)]
    assert found == ([1] if len(directions) == 1 else [1, 0, 2])
    [summary] = experiments.summaries(world.database, None)
    assert summary["best"] is not None
    assert summary["best"]["number"] == 1


@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "minimize"]], ids=len)
def test_what_violates_a_constraint_is_not_the_best(world: World, directions: list[Direction]) -> None:
    values = ([0.5] * len(directions), [1.0] * len(directions), [2.0] * len(directions))
    violated: list[dict[str, Any]] = [
        {"constraints": [-1.0, 0.5]},
        {"constraints:a": 0.1},
        {"constraints:a": 0.0},
    ]
    with world.optuna(directions=directions) as study:
        for each, attributes in zip(values, violated, strict=True):
            study.add_trial(trial_of(1, *each, system_attrs=attributes))
        expected = [t.number for t in study.best_trials]
    search = world.search(text=f"directions = {json.dumps(directions)}")
    assert [b["number"] for b in bests(world, search.study_id)] == expected == [2]


def test_there_is_no_best_without_a_feasible_value(world: World) -> None:
    with world.optuna() as study:
        study.add_trial(trial_of(1, 0.5, system_attrs={"constraints": [1.0]}))
    search = world.search()
    search.evaluate(2)
    assert bests(world, search.study_id) == []
    assert experiments.summaries(world.database, None)[0]["best"] is None


@pytest.mark.parametrize(("direction", "expected"), [("minimize", [2, 4, 0]), ("maximize", [3, 0, 4])])
def test_the_best_so_many_are_evaluated_trials_the_best_first(
    world: World, direction: Direction, expected: list[int]
) -> None:
    search = world.search(text=f'direction = "{direction}"')
    for size, value in enumerate([1.0, None, -INFINITY, INFINITY, 0.5], 1):
        search.evaluate(size, *([] if value is None else [value]))
    assert isinstance(search.draw(3), Duplicate)
    found = bests(world, search.study_id, 3)
    assert [each["number"] for each in found] == expected


def test_the_best_so_many_violate_no_constraint(world: World) -> None:
    with world.optuna() as study:
        for size, violation in enumerate([1.0, -1.0, 2.0, 0.0], 1):
            study.add_trial(trial_of(size, float(size), system_attrs={"constraints": [violation]}))
    found = bests(world, world.search().study_id, 2)
    assert [each["number"] for each in found] == [1, 3]


def test_the_best_so_many_of_several_objectives_are_the_first_of_the_front(world: World) -> None:
    search = world.search(text='directions = ["minimize", "minimize"]')
    for size in (1, 2, 3):
        search.evaluate(size, float(size), -float(size))
    assert [each["number"] for each in bests(world, search.study_id, 2)] == [0, 1]
