"""A mark is another one when there is something new to show."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.storage.queries.worlds import Searched, World, trial_of
from tuned.storage.queries.marks import marks

CHANGES: dict[str, Callable[[Searched], object]] = {
    "a trial begins": lambda search: search.draw(5),
    "a trial ends": lambda search: search.evaluate(5, 1.0),
    "a trial fails": lambda search: search.evaluate(5),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_of_a_trial_changes_the_mark_of_its_study_alone(world: World, change: str) -> None:
    one, other = world.search("one"), world.search("other")
    before = marks(world.database)
    CHANGES[change](one)
    after = marks(world.database)
    assert [each.name for each in after] == ["one", "other"]
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)
    assert other.study_id == after[1].study_id


def test_a_trial_of_another_program_changes_the_mark(world: World) -> None:
    world.search()
    before = marks(world.database)
    with world.optuna() as study:
        study.add_trial(trial_of(1, 1.0))
    assert marks(world.database) != before
