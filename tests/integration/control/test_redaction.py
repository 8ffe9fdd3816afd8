"""A trial printed a secret: no route shows it to a peer that is not trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.control.asking import ask, exchange, next_event, open_events
from tests.small_host import SmallHost, a_trial
from tuned.control import routes
from tuned.control.router import Route

PRINTED = {"cause": "exit", "message": "printed: sesame"}


@pytest.fixture(autouse=True)
def printed(host: SmallHost) -> None:
    host.all_trials[249] = a_trial(249, state="FAIL", values=None, failure=PRINTED)


async def answer_to(route: Route, server: SmallHost, path: Path) -> bytes:
    if route.path == "/v1/events":
        return await events(server, path)
    target = route.path.format(name="minima", number=249) + ("?output=1" if "output" in route.options else "")
    return (await exchange(path, ask(route.method, target)))[2]


async def events(server: SmallHost, path: Path) -> bytes:
    reader, writer = await open_events(path)
    await next_event(reader)
    server.events.publish(
        "trial-ended", trial=9, state="FAIL", failure={"cause": "exit", "message": "sesame"}
    )
    line = await reader.readline()
    writer.close()
    return line


async def test_a_trusted_peer_sees_what_a_trial_printed(server: SmallHost, path: Path) -> None:
    reading = [route for route in routes.ROUTES if route.method == "GET"]
    showing = {route.path for route in reading if b"sesame" in await answer_to(route, server, path)}
    one = "/v1/experiments/{name}"
    trials = {f"{one}/trials", f"{one}/trials/{{number}}", f"{one}/export"}
    assert showing == {"/v1/status", "/v1/events", one, *trials}


@pytest.mark.parametrize("route", routes.ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_no_route_shows_an_untrusted_peer_what_a_trial_printed(
    server: SmallHost, path: Path, route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuned.control.peers.Owner.trusts", lambda *_: False)
    answer = await answer_to(route, server, path)
    assert answer
    assert b"sesame" not in answer
    assert server.host_state == "running"
