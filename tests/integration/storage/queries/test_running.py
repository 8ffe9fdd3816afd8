"""The trials that run now, in all experiments."""

from __future__ import annotations

from tests.integration.storage.queries.worlds import World, a_bit_of_everything
from tuned.storage.queries.running import curves, running


def test_the_running_trials_of_all_experiments_are_found(world: World) -> None:
    a_bit_of_everything(world)
    world.search("other", host="h2").draw(9)
    found = running(world.database)
    assert [(each["experiment"], each["number"], each["host"]) for each in found] == [
        ("exp", 3, "h1"),
        ("other", 0, "h2"),
    ]
    assert found[1]["params"]["size"] == 9


def test_curves_are_the_intermediate_values_of_running_trials(world: World) -> None:
    search = world.search()
    with world.optuna() as study:
        trial = study.ask()
        for step, value in enumerate([3.0, 2.0, 1.0]):
            trial.report(value, step)
        ended = study.ask()
        ended.report(1.0, 0)
        study.tell(ended, 1.0)
    found = curves(world.database, search.study_id)
    assert {number: [each["value"] for each in reports] for number, reports in found.items()} == {
        0: [3.0, 2.0, 1.0]
    }
