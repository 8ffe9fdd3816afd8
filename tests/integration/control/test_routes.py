"""Each route over a real Unix socket, with a small host behind it."""

from __future__ import annotations

import asyncio
import os
import pwd
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.control.asking import ask, exchange, get, next_event, open_events
from tests.small_host import SmallHost, a_trial, served
from tests.waiting import until_async
from tuned.control import routes
from tuned.control.peers import Access


async def test_each_reading_route_answers_its_shape(address: Path) -> None:
    keys = {
        "/v1/status": "host",
        "/v1/hosts": "hosts",
        "/v1/doctor": "findings",
        "/v1/experiments": "experiments",
        "/v1/experiments/minima": "summary",
        "/v1/experiments/minima/trials": "trials",
        "/v1/experiments/minima/trials/7": "point",
        "/v1/experiments/minima/best": "best",
        "/v1/experiments/minima/improvements": "improvements",
    }
    for target, key in keys.items():
        status, view = await get(address, target)
        assert (status, key in view) == (200, True), target


async def test_trials_come_in_pages_newest_first(address: Path) -> None:
    numbers: list[int] = []
    before = ""
    while True:
        _, page = await get(address, f"/v1/experiments/minima/trials?limit=90{before}")
        numbers += [trial["number"] for trial in page["trials"]]
        if page["before"] is None:
            break
        before = f"&before={page['before']}"
    assert numbers == list(reversed(range(250)))


async def test_trials_by_value_are_one_page(server: SmallHost, path: Path) -> None:
    server.all_trials = [a_trial(number, values=[value]) for number, value in enumerate([0.5, 0.1, 0.3])]
    _, page = await get(path, "/v1/experiments/minima/trials?sort=value&limit=2")
    assert ([trial["number"] for trial in page["trials"]], page["before"]) == ([1, 2], None)


async def test_trials_can_be_chosen_by_state(server: SmallHost, path: Path) -> None:
    server.all_trials[7]["state"] = "FAIL"
    _, page = await get(path, "/v1/experiments/minima/trials?state=FAIL")
    assert [trial["number"] for trial in page["trials"]] == [7]


async def test_an_unknown_cause_is_named(address: Path) -> None:
    status, view = await get(address, "/v1/experiments/minima/retry?cause=odd", "POST")
    assert (status, view["error"]["problems"][0]["key"]) == (400, "cause")


@pytest.mark.parametrize("query", ["limit=0", "limit=many", "limit=1001", "before=-1", "state=DONE", "odd=1"])
async def test_a_wrong_option_is_named(address: Path, query: str) -> None:
    status, view = await get(address, f"/v1/experiments/minima/trials?{query}")
    assert status == 400
    assert view["error"]["problems"][0]["key"] == query.partition("=")[0]


async def test_a_change_is_done_and_answered_with_what_it_made(address: Path) -> None:
    assert (await get(address, "/v1/experiments/minima/pause", "POST"))[1]["state"] == "paused"
    assert (await get(address, "/v1/experiments/minima/resume", "POST"))[1]["state"] == "open"
    cancelled = (await get(address, "/v1/experiments/minima/cancel", "POST"))[1]
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert (cancelled["state"], cancelled["ended_by"]) == ("cancelled", f"cancelled by {user}")
    assert await get(address, "/v1/drain", "POST") == (200, {"state": "draining"})
    assert await get(address, "/v1/abort", "POST") == (200, {"state": "aborting"})
    assert await get(address, "/v1/restart", "POST") == (200, {"state": "aborting"})


def preferring(method: str, target: str, prefer: str) -> bytes:
    return ask(method, target).replace(b"\r\n\r\n", f"\r\nPrefer: {prefer}\r\n\r\n".encode())


@pytest.mark.parametrize("target", ["GET /v1/experiments", "POST /v1/experiments/minima/pause"])
async def test_a_request_waits_for_the_database_as_long_as_its_peer_likes(
    server: SmallHost, path: Path, target: str
) -> None:
    server.is_away = True
    method, name = target.split()
    assert (await get(path, name, method))[0] == 503
    assert (await exchange(path, preferring(method, name, "respond-async, wait=7")))[0] == 200
    assert server.waited[-1] == 7


async def test_no_request_waits_for_longer_than_a_bound(server: SmallHost, path: Path) -> None:
    server.is_away = True
    await exchange(path, preferring("GET", "/v1/experiments", "wait=9999"))
    assert server.waited == [50]


async def test_a_host_is_drained_without_a_database(server: SmallHost, path: Path) -> None:
    server.is_away = True
    assert (await get(path, "/v1/drain", "POST"))[0] == 200
    assert server.waited == []


async def test_a_change_is_done_although_its_peer_hangs_up(server: SmallHost, path: Path) -> None:
    server.may_change.clear()
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(ask("POST", "/v1/experiments/minima/cancel"))
    await asyncio.wait_for(server.is_changing.wait(), 20)
    writer.transport.abort()
    await get(path, "/v1/status")
    server.may_change.set()
    await until_async(lambda: server.summary["state"] == "cancelled", what="the change")


async def test_events_begin_with_a_snapshot_and_miss_nothing_after_it(server: SmallHost, path: Path) -> None:
    reader, writer = await open_events(path)
    snapshot = await next_event(reader)
    assert (snapshot["event"], snapshot["status"]["experiments"][0]["name"]) == ("snapshot", "minima")
    server.events.publish("trial-started", experiment="minima", trial=46, slot=0, attempt=1)
    event = await next_event(reader)
    assert (event["event"], event["host"], event["trial"]) == ("trial-started", "alpha", 46)
    writer.close()


async def test_a_slow_reader_loses_events_and_is_told_how_many(path: Path) -> None:
    host = SmallHost(queue_length=10)
    async with served(host, path):
        reader, writer = await open_events(path)
        await next_event(reader)
        for _ in range(5000):
            host.events.publish("experiment-state", experiment="minima", note="x" * 500)
            await asyncio.sleep(0)
        kept = 0
        while (event := await next_event(reader))["event"] != "lost":
            kept += 1
        assert kept + event["count"] == 5000
        writer.close()


async def test_the_output_of_a_trial_is_streamed(address: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(address)
    writer.write(b"GET /v1/experiments/minima/logs?trial=3 HTTP/1.0\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 20)).endswith(b"epoch 1\nepoch 2\n")
    writer.close()


def test_the_routes_that_change_or_show_output_are_for_the_trusted() -> None:
    trusted = {route.path for route in routes.ROUTES if route.access is Access.TRUSTED}
    changing = {route.path for route in routes.ROUTES if route.method == "POST"}
    assert trusted == changing | {"/v1/experiments/{name}/logs"}


async def test_metrics_are_prometheus_text(address: Path) -> None:
    status, headers, body = await exchange(address, ask("GET", "/metrics"))
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = {each.name: each.samples[0].value for each in text_string_to_metric_families(body.decode())}
    assert (families["tuned_slots"], families["tuned_slots_busy"]) == (2, 1)


async def test_a_status_has_the_last_lines_of_trials_only_if_asked(address: Path) -> None:
    _, plain = await get(address, "/v1/status")
    _, whole = await get(address, "/v1/status?output=1")
    assert "last_line" not in plain["slots"][0]["running"]
    assert whole["slots"][0]["running"]["last_line"] == "printed: sesame"


async def test_a_log_can_begin_near_its_end(server: SmallHost, path: Path) -> None:
    await exchange(path, ask("GET", "/v1/experiments/minima/logs?trial=3&tail=4096"))
    assert server.tail == 4096
    status, body = await get(path, "/v1/experiments/minima/logs?trial=3&tail=1048577")
    assert (status, body["error"]["problems"][0]["expected"]) == (400, "a number from 1 to 1048576")
