"""The best trials as they are shown, and the nearest one while none is feasible."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.storage.queries.worlds import World
from tuned.storage.queries import experiments


@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "minimize"]], ids=len)
def test_while_no_trial_is_feasible_the_one_that_violates_least_is_the_nearest(
    world: World, directions: list[Any]
) -> None:
    search = world.search(text=f"directions = {json.dumps(directions)}")
    values = [0.5] * len(directions)
    kept = ({"a": 1.0, "b": 0.5}, {"a": 1.0, "b": -9.0}, {"a": -9.0, "b": 1.0}, {"a": 3.0})
    for size, constraints in enumerate(kept, 1):
        search.evaluate(size, *values, constraints=constraints)
    search.evaluate(5, constraints={"a": 0.25})
    found = experiments.best(world.database, search.study_id)
    assert (found["best"], found["nearest"]) == (
        [],
        {"number": 1, "values": values, "params": {"size": 2, "rate": 0.6, "kind": "a"}, "host": "h1",
         "constraints": {"a": 1.0, "b": -9.0}},
    )  # fmt: skip
    [summary] = experiments.summaries(world.database, None)
    assert (summary["best"], summary["nearest"]) == (None, found["nearest"])
    search.evaluate(6, *values, constraints={"a": 0.0, "b": -1.0})
    found = experiments.best(world.database, search.study_id)
    assert ([each["number"] for each in found["best"]], found["nearest"]) == ([5], None)
    [summary] = experiments.summaries(world.database, None)
    assert (summary["best"], summary["nearest"]) == (found["best"][0], None)


def test_without_a_value_there_is_no_nearest_trial(world: World) -> None:
    search = world.search()
    search.evaluate(1, constraints={"a": 1.0})
    assert experiments.best(world.database, search.study_id) == {"best": [], "nearest": None}
