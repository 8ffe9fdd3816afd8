"""Pages show what there is, whatever it is called."""

from __future__ import annotations

import pytest

from tests.integration.storage.queries.worlds import World, a_bit_of_everything
from tests.integration.web.conftest import NOBODY
from tuned.errors import NotFound
from tuned.web.pages import Pages, whole
from tuned.web.plots import Painter
from tuned.web.reader import Reader


@pytest.fixture
def pages(reader: Reader, painter: Painter) -> Pages:
    return Pages(reader=reader, painter=painter, host=NOBODY, allows_changes=True)


async def test_the_fleets_page_has_hosts_experiments_and_running_trials(world: World, pages: Pages) -> None:
    a_bit_of_everything(world)
    page = await pages.fleet()
    assert '<a href="/experiments/exp/trials/3">exp 3</a>' in page.parts["running"]
    assert '<a href="/experiments/exp">exp</a>' in page.parts["experiments"]
    assert "<b>h1</b>" in page.parts["hosts"]


async def test_an_experiments_page_has_its_best_and_its_trials(world: World, pages: Pages) -> None:
    search = world.search()
    search.evaluate(1, 0.5)
    search.evaluate(2, 0.25)
    page = await pages.experiment("exp")
    assert '<a href="/experiments/exp/trials/1">1</a>' in page.parts["best"]
    assert "Best value so far: 0.25 after 2 trials" in page.parts["charts"]
    assert '<form method="post" action="/experiments/exp/pause">' in page.parts["head"]


async def test_a_front_is_drawn_and_listed(world: World, pages: Pages) -> None:
    search = world.search(text='directions = ["minimize", "maximize"]')
    for size, values in enumerate([(1.0, 1.0), (2.0, 2.0), (3.0, 0.0)], 1):
        search.evaluate(size, *values)
    page = await pages.experiment("exp", waits=True)
    assert "Front: 2 of 3 trials" in page.parts["charts"]
    assert page.parts["best"].count("<tr data-key") == 2
    assert "Parallel coordinates of 3 trials: value 0 and" in page.parts["charts"]


async def test_a_trials_page_tells_why_it_failed_and_escapes_what_it_printed(
    world: World, pages: Pages
) -> None:
    search = world.search()
    search.end(search.draw(1), message="<script>alert(1)</script>")
    page = await pages.trial("exp", 0)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.parts["story"]
    assert "<script>alert" not in whole(page, address="/", allows_changes=False)


@pytest.mark.parametrize("number", range(8))
async def test_each_kind_of_trial_has_a_page(world: World, pages: Pages, number: int) -> None:
    a_bit_of_everything(world)
    assert f"Trial {number}" in (await pages.trial("exp", number)).parts["head"]


async def test_an_experiment_that_there_is_not_is_not_found(world: World, pages: Pages) -> None:
    world.search()
    with pytest.raises(NotFound, match="cannot find experiment other"):
        await pages.experiment("other")
