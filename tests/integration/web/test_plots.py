"""Charts of all trials: read once, thinned, and drawn beside the page."""

from __future__ import annotations

import pytest

from tests.factories import statements
from tests.integration.storage.queries.worlds import World, trial_of
from tuned.storage.queries.points import Evaluated
from tuned.web.plots import Painter, Plots, thinned
from tuned.web.reader import Reader


async def drawn(reader: Reader, painter: Painter) -> Plots:
    reader.forget_look()
    found = (await reader.fleet()).of("exp")
    assert found is not None
    plots = await painter.plots(found, await reader.detail("exp"), patience=None)
    assert plots is not None
    return plots


async def test_the_parameter_that_decides_is_the_most_important(
    world: World, reader: Reader, painter: Painter
) -> None:
    search = world.search()
    for size in range(1, 10):
        search.end(search.draw(size, rate=0.2 * (size % 3)), float(size))
    plots = await drawn(reader, painter)
    assert next(iter(plots.importances[0])) == "size"
    assert "Parallel coordinates of 9 trials" in plots.parallel


async def test_a_trial_is_read_once(world: World, reader: Reader, painter: Painter) -> None:
    search = world.search()
    search.evaluate(1, 1.0)
    search.evaluate(2, 2.0)
    await drawn(reader, painter)
    search.evaluate(3, 3.0)
    with statements(world.database) as found:
        assert (await drawn(reader, painter)).evaluated == 3
    ids = [each for each in found if "trial_params.param_id" in each and "IN" in each]
    assert ids


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_few_trials_give_the_charts_that_they_give(
    world: World, reader: Reader, painter: Painter, count: int
) -> None:
    with world.optuna() as study:
        study.add_trials([trial_of(1, float(number)) for number in range(count)])
    world.search()
    assert (await drawn(reader, painter)).evaluated == count


def test_thinning_keeps_the_best_and_both_ends() -> None:
    points = [Evaluated(number=n, values=(float(n % 100),), params={}, distributions={}) for n in range(1000)]
    kept = {each.number for each in thinned(points, 40, {each.number: each.values[0] for each in points})}
    assert {0, 100, 200, 900, 999} <= kept
    assert len(kept) <= 40
