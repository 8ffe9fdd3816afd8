"""Requests are answered by the name of the host, by origin, by token."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest

from tests.integration.storage.queries.worlds import World
from tests.integration.web.conftest import Serve
from tuned.web.guard import COOKIE

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "0.0.0.0", "", "localhost:"])
async def test_a_name_that_is_not_this_hosts_is_not_answered(serve: Serve, host: str) -> None:
    assert (await (await serve()).get("/", headers={"Host": host})).status == 403


@pytest.mark.parametrize("path", ["/experiments/exp/pause", "/optuna/api/studies"])
async def test_nothing_is_changed_unless_it_is_allowed(serve: Serve, path: str) -> None:
    answer = await (await serve()).post(path)
    assert (answer.status, "--allow-changes" in await answer.text()) == (403, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/experiments/exp/pause", "/optuna/api/studies", "/login"])
async def test_a_page_of_another_site_changes_nothing(
    serve: Serve, headers: dict[str, str], path: str
) -> None:
    for token in (None, TOKEN):
        client = await serve(token=token, allows_changes=True)
        assert (await client.post(path, headers=headers)).status == 403


@pytest.mark.parametrize(
    "path", ["/", "/?format=json", "/?format=live", "/experiments/exp", "/optuna/api/studies"]
)
async def test_without_the_token_nothing_is_told(serve: Serve, path: str) -> None:
    client = await serve(token=TOKEN)
    for headers in (
        {},
        {"Authorization": "Bearer x"},
        {"Cookie": f"{COOKIE}={TOKEN}"},
        {"Cookie": f"{COOKIE}="},
    ):
        assert (await client.get(path, headers=headers)).status == 401


async def test_a_program_gives_the_token_as_a_bearer(world: World, serve: Serve) -> None:
    world.search()
    client = await serve(token=TOKEN)
    # With a token any name may lead here: another site's page has no cookie of ours.
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "tuned.example"}
    assert (await client.get("/", headers=headers)).status == 200


async def test_a_browser_gets_a_cookie_for_the_token_that_does_not_tell_it(
    world: World, serve: Serve
) -> None:
    world.search()
    client = await serve(token=TOKEN)
    asked = await client.get("/", headers={"Accept": "text/html"}, allow_redirects=False)
    assert (asked.status, asked.headers["Location"]) == (303, "/login")
    assert (await client.post("/login", data={"token": "wrong"})).status == 403
    given = await client.post("/login", data={"token": TOKEN}, allow_redirects=False)
    cookie = SimpleCookie(given.headers["Set-Cookie"])[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], TOKEN in cookie.value) == (True, "Strict", False)
    assert (await client.get("/", headers={"Cookie": f"{COOKIE}={cookie.value}"})).status == 200
