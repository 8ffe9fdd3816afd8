"""How the best value came about, in a study with trials of all kinds."""

from __future__ import annotations

import itertools

import pytest

from tests.integration.storage.queries.worlds import INFINITY, Direction, World, trial_of
from tuned.protocol.limits import MOST_IMPROVEMENTS
from tuned.storage.queries.improvements import improvements


def improved(world: World, study_id: int) -> list[tuple[int, float]]:
    found = improvements(world.database, study_id)["improvements"]
    return [(each["number"], each["value"]) for each in found]


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("minimize", [(1, 3.0), (4, 2.0), (6, 1.0)]), ("maximize", [(1, 3.0), (5, 5.0)])],
)
def test_improvements_are_the_finite_values_that_beat_all_before(
    world: World, direction: Direction, expected: list[tuple[int, float]]
) -> None:
    search = world.search(text=f'direction = "{direction}"')
    for size, value in enumerate([INFINITY, 3.0, None, 3.0, 2.0, 5.0, 1.0, -INFINITY], 1):
        search.evaluate(size, *([] if value is None else [value]))
    assert improved(world, search.study_id) == expected


def test_a_trial_that_violates_a_constraint_improves_nothing(world: World) -> None:
    with world.optuna() as study:
        for size, (value, violation) in enumerate([(3.0, -1.0), (1.0, 1.0), (2.0, 0.0)], 1):
            study.add_trial(trial_of(size, value, system_attrs={"constraints": [violation]}))
    assert improved(world, world.search().study_id) == [(0, 3.0), (2, 2.0)]


def test_of_several_objectives_the_first_one_counts(world: World) -> None:
    search = world.search(text='directions = ["maximize", "minimize"]')
    for size, value in enumerate([1.0, 0.5, 2.0], 1):
        search.evaluate(size, value, -value)
    assert improved(world, search.study_id) == [(0, 1.0), (2, 2.0)]


def test_many_improvements_are_thinned_evenly_with_both_ends(world: World) -> None:
    with world.optuna() as study:
        study.add_trials([trial_of(1, -float(number)) for number in range(300)])
    numbers = [number for number, _ in improved(world, world.search().study_id)]
    assert (len(numbers), numbers[0], numbers[-1]) == (MOST_IMPROVEMENTS, 0, 299)
    assert {later - earlier for earlier, later in itertools.pairwise(numbers)} == {3, 4}
