"""The control socket over a real Unix socket, with raw bytes, real users and a small host behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.small_host import SmallHost, served
from tests.waiting import until_async
from tuned.control import router, routes
from tuned.control.peers import peer_of
from tuned.errors import Conflict, InvalidInput

OVERFLOW_UID = 65534
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "tuned.sock"


@pytest.fixture
async def host() -> SmallHost:
    return SmallHost()


@pytest.fixture
async def server(host: SmallHost, path: Path) -> AsyncIterator[SmallHost]:
    async with served(host, path):
        yield host


@pytest.fixture
def address(server: SmallHost, path: Path) -> Path:
    """Where a host answers that the test need not know."""
    assert server.host_state == "running"
    return path


def ask(method: str, target: str) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: tuned\r\nConnection: close\r\n\r\n".encode()


async def exchange(path: Path, sent: bytes, *, half_close: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Sends bytes on a connection of its own and returns status, headers and body of the first answer."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**20)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
            if half_close:
                writer.write_eof()
        return await read_answer(reader)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        return int(first.split()[1]), headers, await reader.readexactly(length)


async def get(path: Path, target: str, method: str = "GET") -> tuple[int, Any]:
    status, _, body = await exchange(path, ask(method, target))
    return status, json.loads(body)


async def error_of(path: Path, sent: bytes) -> tuple[int, str]:
    status, headers, body = await exchange(path, sent)
    assert headers["content-type"].startswith("application/json")
    return status, json.loads(body)["error"]["code"]


# Reading and changing


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
    assert (await get(address, "/v1/experiments/minima/cancel", "POST"))[1]["state"] == "cancelled"
    assert await get(address, "/v1/drain", "POST") == (200, {"state": "draining"})
    assert await get(address, "/v1/abort", "POST") == (200, {"state": "aborting"})


async def test_a_change_is_done_although_its_peer_hangs_up(server: SmallHost, path: Path) -> None:
    server.may_change.clear()
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(ask("POST", "/v1/experiments/minima/cancel"))
    await asyncio.wait_for(server.is_changing.wait(), 20)
    writer.transport.abort()
    await get(path, "/v1/status")
    server.may_change.set()
    await until_async(lambda: server.summary["state"] == "cancelled", what="the change")


async def test_infinite_values_are_json(server: SmallHost, path: Path) -> None:
    server.all_trials = server.all_trials[:1]
    server.all_trials[0]["values"] = [float("inf"), float("-inf"), 1.5]
    _, page = await get(path, "/v1/experiments/minima/trials")
    assert page["trials"][0]["values"] == ["Infinity", "-Infinity", 1.5]


async def test_metrics_are_prometheus_text(address: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(address)
    writer.write(ask("GET", "/metrics"))
    _, headers, body = await read_answer(reader)
    writer.close()
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = body.decode().splitlines()
    assert 'tuned_trials{experiment="minima",state="complete"} 40' in lines
    assert {"tuned_slots 2", "tuned_slots_busy 1", "tuned_database_reachable 1", "tuned_beats_total 7"} <= {
        *lines
    }


# Errors


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/", (404, "not-found")),
        ("GET", "/v1/experiments/other", (404, "not-found")),
        ("GET", "/v1/experiments/..%2f..%2fetc/logs", (404, "not-found")),
        ("GET", "/v1/experiments/minima/logs?trial=999", (404, "not-found")),
        ("POST", "/v1/status", (405, "method-not-allowed")),
        ("DELETE", "/v1/experiments/minima", (405, "method-not-allowed")),
        ("GET", "/v1/" + "x" * 9000, (400, "invalid")),
    ],
)
async def test_each_error_is_json_with_a_fitting_status(
    address: Path, method: str, target: str, expected: tuple[int, str]
) -> None:
    assert await error_of(address, ask(method, target)) == expected


async def test_a_conflict_is_told_as_one(server: SmallHost, path: Path) -> None:
    server.summary["state"] = "done"
    assert await error_of(path, ask("POST", "/v1/experiments/minima/pause")) == (409, "conflict")


async def test_a_bug_in_an_answer_is_an_internal_error_and_nothing_more(
    server: SmallHost, path: Path
) -> None:
    server.bug = ZeroDivisionError("sesame")
    status, _, body = await exchange(path, ask("GET", "/v1/status"))
    assert (status, b"sesame" in body) == (500, False)
    server.bug = None
    assert (await get(path, "/v1/status"))[0] == 200


@pytest.mark.parametrize("length", ["Content-Length: 65537", "Transfer-Encoding: chunked"])
async def test_a_body_that_is_too_large_is_refused(server: SmallHost, path: Path, length: str) -> None:
    body = b"x" * 65537 if "Length" in length else b"10001\r\n" + b"x" * 65537 + b"\r\n0\r\n\r\n"
    sent = f"POST /v1/drain HTTP/1.1\r\nHost: tuned\r\n{length}\r\n\r\n".encode() + body
    assert await error_of(path, sent) == (413, "too-large")
    assert server.host_state == "running"


async def test_a_request_that_never_gets_whole_is_closed(host: SmallHost, path: Path) -> None:
    async with served(host, path, request_seconds=0.2):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /v1/status HTTP/1.1\r\nHost: ")
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
        slow_body = b"POST /v1/drain HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n"
        assert await error_of(path, slow_body) == (408, "timeout")


async def test_a_peer_that_has_said_all_is_still_answered(address: Path) -> None:
    status, _, _ = await exchange(address, ask("GET", "/v1/status"), half_close=True)
    assert status == 200


# Malformed requests


async def test_ten_thousand_malformed_requests_are_each_answered_with_an_error(address: Path) -> None:
    generator = random.Random(20250131)
    for _ in range(200):
        await asyncio.gather(*(_malformed(address, generator) for _ in range(50)))
    assert (await get(address, "/v1/status"))[0] == 200


async def _malformed(path: Path, generator: random.Random) -> None:
    sent = generator.choice(MALFORMATIONS)(generator)
    status, headers, body = await exchange(path, sent, half_close=True)
    assert 400 <= status < 500, (sent, status)
    assert headers["content-type"].startswith("application/json"), sent
    assert json.loads(body)["error"]["message"], sent


def _noise(generator: random.Random) -> bytes:
    return generator.randbytes(generator.randrange(1, 300))


def _noise_in_lines(generator: random.Random) -> bytes:
    return b"\r\n".join(_noise(generator) for _ in range(generator.randrange(1, 8))) + b"\r\n\r\n"


def _cut(generator: random.Random) -> bytes:
    whole = ask("GET", "/v1/status")
    return whole[: generator.randrange(len(whole))]


def _unknown_path(generator: random.Random) -> bytes:
    target = "".join(generator.choice("/.%?&=v1etatusxé\x7f{}[]:@#") for _ in range(generator.randrange(60)))
    return b"GET /" + target.encode() + b" HTTP/1.1\r\nHost: tuned\r\nConnection: close\r\n\r\n"


def _unknown_method(generator: random.Random) -> bytes:
    method = "".join(
        generator.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(generator.randrange(1, 12))
    )
    return ask(f"X{method}", "/v1/status")


def _bad_header(generator: random.Random) -> bytes:
    header = generator.choice(
        [
            b"Content-Length: -1",
            b"Content-Length: x",
            b": x",
            b"A\x00: b",
            b"Transfer-Encoding: odd",
            b"X" * 9000,
        ]
    )
    return b"GET /v1/status HTTP/1.1\r\nHost: tuned\r\n" + header + b"\r\n\r\n"


def _bad_body(generator: random.Random) -> bytes:
    head = b"POST /v1/experiments/none/cancel HTTP/1.1\r\nHost: tuned\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"zz" + _noise(generator)


def _bad_version(generator: random.Random) -> bytes:
    return f"GET /v1/status HTTP/{generator.randrange(3, 99)}.{generator.randrange(9)}\r\n\r\n".encode()


MALFORMATIONS: list[Callable[[random.Random], bytes]] = [
    _noise,
    _noise_in_lines,
    _cut,
    _unknown_path,
    _unknown_method,
    _bad_header,
    _bad_body,
    _bad_version,
]


# Streams


async def open_events(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path, limit=2**20)
    writer.write(b"GET /v1/events HTTP/1.0\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def next_event(reader: asyncio.StreamReader) -> Any:
    return json.loads(await asyncio.wait_for(reader.readline(), 20))


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


async def test_a_stream_whose_reader_has_gone_is_given_up(server: SmallHost, path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(ask("GET", "/v1/experiments/minima/logs?follow=1"))
    await asyncio.wait_for(reader.readuntil(b"epoch 1\n"), 20)
    assert server.open_logs == 1
    writer.close()
    await until_async(lambda: server.open_logs == 0, what="the end of the stream")


async def test_streams_end_when_the_server_stops(host: SmallHost, path: Path) -> None:
    async with served(host, path, stop_seconds=0.2):
        reader, writer = await open_events(path)
        await next_event(reader)
        await host.drain()
    assert (await next_event(reader))["state"] == "draining"
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_the_output_of_a_trial_is_streamed(address: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(address)
    writer.write(b"GET /v1/experiments/minima/logs?trial=3 HTTP/1.0\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 20)).endswith(b"epoch 1\nepoch 2\n")
    writer.close()


# Peers


def ask_as(path: Path, uid: int, gids: list[int], sent: bytes) -> int:
    """Asks in a process of its own with another user and groups; returns the answer's status."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgroups(gids)
            os.setresgid(OVERFLOW_UID, OVERFLOW_UID, OVERFLOW_UID)
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(20)
                connection.connect(str(path))
                connection.sendall(sent)
                theirs.sendall(connection.makefile("rb").read())
        os._exit(0)
    theirs.close()
    with ours:
        answer = ours.makefile("rb").read()
    os.waitpid(child, 0)
    return int(answer.split()[1])


@pytest.fixture
def open_to_all(tmp_path: Path) -> None:
    for directory in [tmp_path, *list(tmp_path.parents)[:3]]:
        directory.chmod(directory.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)


@NEEDS_ROOT
@pytest.mark.usefixtures("open_to_all")
@pytest.mark.parametrize(
    ("uid", "gids", "status"),
    [(OVERFLOW_UID, [], 403), (OVERFLOW_UID, [os.getegid()], 200), (0, [], 200)],
    ids=["nobody", "nobody in the daemon's group", "root"],
)
async def test_only_root_and_the_daemons_user_and_group_change_something(
    server: SmallHost, path: Path, uid: int, gids: list[int], status: int
) -> None:
    assert await asyncio.to_thread(ask_as, path, uid, gids, ask("GET", "/v1/status")) == 200
    assert await asyncio.to_thread(ask_as, path, uid, gids, ask("POST", "/v1/drain")) == status
    assert (server.host_state == "draining") == (status == 200)


@NEEDS_ROOT
@pytest.mark.usefixtures("open_to_all")
async def test_output_of_trials_is_not_for_everyone(address: Path) -> None:
    sent = ask("GET", "/v1/experiments/minima/logs?trial=3")
    assert await asyncio.to_thread(ask_as, address, OVERFLOW_UID, [], sent) == 403


async def test_who_may_not_change_sees_neither_environments_nor_output(
    server: SmallHost, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = ["/v1/experiments/minima", "/v1/experiments/minima/trials?state=FAIL"]
    server.all_trials[9] = (await server.experiment("minima"))["failures"][0]
    for target in targets:
        assert b"sesame" in (await exchange(path, ask("GET", target)))[2]
    monkeypatch.setattr("tuned.control.peers.Owner.trusts", lambda *_: False)
    for target in targets:
        assert b"sesame" not in (await exchange(path, ask("GET", target)))[2]


async def test_a_user_has_only_so_many_connections(host: SmallHost, path: Path) -> None:
    async with served(host, path, connections_per_user=3):
        held = [await open_events(path) for _ in range(3)]
        assert await error_of(path, ask("GET", "/v1/status")) == (503, "too-many-connections")
        held[0][1].close()
        await wait_for_service(path)
        for _, writer in held:
            writer.close()


async def wait_for_service(path: Path) -> None:
    async with asyncio.timeout(20):
        while (await exchange(path, ask("GET", "/v1/status")))[0] != 200:
            pass


def mode_of(path: Path) -> int | None:
    return stat.S_IMODE(path.lstat().st_mode) if path.exists() else None


@contextlib.contextmanager
def another_socket(path: Path) -> Iterator[socket.socket]:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        yield other


# The socket file


async def test_the_socket_has_exactly_its_mode(host: SmallHost, path: Path) -> None:
    for mode in (0o666, 0o660, 0o600):
        async with served(host, path, mode=mode):
            assert mode_of(path) == mode


async def test_a_second_daemon_on_the_socket_is_refused(address: Path) -> None:
    with pytest.raises(Conflict, match="another daemon answers there"):
        async with served(SmallHost(), address):
            pass
    assert (await get(address, "/v1/status"))[0] == 200


async def test_a_socket_that_another_program_answers_is_refused(host: SmallHost, path: Path) -> None:
    with another_socket(path) as other:
        other.listen(0)
        with pytest.raises(Conflict):
            async with served(host, path):
                pass
    assert mode_of(path) is not None


async def test_a_dead_daemons_socket_is_replaced(host: SmallHost, path: Path) -> None:
    with another_socket(path):
        pass
    async with served(host, path):
        await wait_for_service(path)
    assert mode_of(path) is None


async def test_a_file_that_is_no_socket_is_left_alone(host: SmallHost, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.touch()
    with pytest.raises(InvalidInput, match="no socket"):
        async with served(host, file):
            pass
    assert mode_of(file) is not None


async def test_only_the_own_socket_is_removed_at_the_end(host: SmallHost, path: Path) -> None:
    with contextlib.ExitStack() as stack:
        async with served(host, path):
            stack.enter_context(another_socket(path))
        assert mode_of(path) is not None


async def test_a_path_that_is_too_long_is_refused(host: SmallHost, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at most 107 bytes"):
        async with served(host, tmp_path / ("x" * 108)):
            pass


def test_the_routes_that_change_or_show_output_are_for_the_trusted() -> None:
    trusted = {route.path for route in routes.ROUTES if route.who is router.Access.TRUSTED}
    changing = {route.path for route in routes.ROUTES if route.method == "POST"}
    assert trusted == changing | {"/v1/experiments/{name}/logs"}


def test_the_peer_is_who_the_kernel_says() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        peer = peer_of(one)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert {*os.getgroups(), os.getegid()} == peer.gids
