"""Which address has which page, and its twin."""

from __future__ import annotations

import pytest

from tests.integration.storage.queries.worlds import World, a_bit_of_everything
from tests.integration.web.conftest import Serve
from tuned.web.guard import POLICY

PAGES = ["/", "/experiments/exp", "/experiments/exp/trials/0"]


@pytest.mark.parametrize("path", PAGES)
async def test_each_page_has_a_twin_in_json(world: World, serve: Serve, path: str) -> None:
    a_bit_of_everything(world)
    client = await serve()
    page, twin = await client.get(path), await client.get(path, params={"format": "json"})
    assert (page.status, page.content_type) == (200, "text/html")
    assert (twin.status, twin.content_type) == (200, "application/json")
    assert "exp" in await page.text()
    assert "exp" in await twin.text()


@pytest.mark.parametrize("path", [*PAGES, "/login", "/static/tuned.js", "/nowhere"])
async def test_each_answer_lets_no_script_but_ours_run(world: World, serve: Serve, path: str) -> None:
    a_bit_of_everything(world)
    answer = await (await serve()).get(path)
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/experiments/none", "/experiments/exp/trials/99", "/?format=xml"])
async def test_a_page_that_is_not_there_says_so(world: World, serve: Serve, path: str) -> None:
    world.search()
    answer = await (await serve()).get(path)
    assert answer.status == 404
    assert "cannot" in await answer.text() or "expected" in await answer.text()


async def test_a_change_without_a_daemon_says_that_none_answers(world: World, serve: Serve) -> None:
    world.search()
    answer = await (await serve(allows_changes=True)).post("/experiments/exp/pause")
    assert answer.status == 503
    assert "no daemon of this host answers" in await answer.text()


async def test_a_page_of_a_database_that_is_away_is_the_last_one_with_the_reason(
    world: World, serve: Serve, reader: object
) -> None:
    a_bit_of_everything(world)
    client = await serve()
    await client.get("/")
    world.database.engine.dispose()
    with world.database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE t_host RENAME TO t_gone")
    reader.forget_look()  # type: ignore[attr-defined]
    assert "the database cannot be read" in await (await client.get("/")).text()
