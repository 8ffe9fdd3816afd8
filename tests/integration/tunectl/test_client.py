"""The client against a real control socket, and against what is none."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from tests.small_host import SmallHost, served
from tuned.errors import Conflict, InvalidInput, NotFound, TunedError, Unreachable
from tuned.protocol.experiments import ExperimentSummary, ExperimentView
from tuned.protocol.host import Status
from tuned.protocol.trials import TrialsView
from tuned.tunectl.client import Client, experiment_path


@pytest.fixture
def client(host: SmallHost, path: Path) -> Client:
    assert host.host_state == "running"
    return Client([path])


async def test_an_answer_is_what_the_host_said(client: Client) -> None:
    assert (await asyncio.to_thread(client.get, "/v1/status", Status))["host"] == "alpha"
    page = await asyncio.to_thread(
        client.get, experiment_path("minima", "trials"), TrialsView, limit=3, state=None
    )
    assert [trial["number"] for trial in page["trials"]] == [249, 248, 247]


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda client: client.get(experiment_path("other"), ExperimentView), NotFound),
        (lambda client: client.get(experiment_path("a/../b"), ExperimentView), NotFound),
        (lambda client: client.get(experiment_path("minima", "trials"), TrialsView, limit=0), InvalidInput),
        (lambda client: client.post(experiment_path("minima", "pause"), ExperimentSummary), Conflict),
        (lambda client: client.post("/v1/status", Status), TunedError),
        (lambda client: list(client.text(experiment_path("other", "logs"))), NotFound),
    ],
)
async def test_an_error_comes_out_as_what_it_went_in_as(
    host: SmallHost, client: Client, ask: object, kind: type[TunedError]
) -> None:
    host.summary["state"] = "done"
    assert callable(ask)
    with pytest.raises(TunedError) as caught:
        await asyncio.to_thread(ask, client)
    assert type(caught.value) is kind
    assert str(caught.value)


async def test_problems_of_an_invalid_request_come_out_whole(client: Client) -> None:
    with pytest.raises(InvalidInput) as caught:
        await asyncio.to_thread(client.get, experiment_path("minima", "trials"), TrialsView, limit=0)
    assert [problem.key for problem in caught.value.problems] == ["limit"]


async def test_events_come_from_the_snapshot_to_the_daemons_end(path: Path) -> None:
    host = SmallHost()
    async with served(host, path):
        events = Client([path]).events()
        snapshot = await asyncio.to_thread(next, events)
        await host.drain()
    rest = await asyncio.to_thread(list, events)
    assert [event["event"] for event in [snapshot, *rest]] == ["snapshot", "host-state"]


async def test_events_end_when_their_time_is_over(client: Client) -> None:
    events = client.events(within_seconds=2)
    assert len(await asyncio.to_thread(list, events)) == 1


async def test_a_text_comes_piece_by_piece(client: Client) -> None:
    pieces = client.text(experiment_path("minima", "logs"), follow=1)
    assert await asyncio.to_thread(next, pieces) == b"epoch 1\n"
    pieces.close()


async def test_a_stream_that_breaks_off_is_no_end(path: Path) -> None:
    async with served(SmallHost(), path, stop_seconds=0.1):
        pieces = Client([path]).text(experiment_path("minima", "logs"), follow=1)
        await asyncio.to_thread(next, pieces)
    with pytest.raises(Unreachable, match="broke off"):
        await asyncio.to_thread(list, pieces)


async def test_the_reason_is_read_also_when_the_door_is_closed(path: Path) -> None:
    async with served(SmallHost(), path, connections_per_user=0):
        with pytest.raises(TunedError, match="as many as allowed"):
            await asyncio.to_thread(Client([path]).get, "/v1/status", Status)


def test_who_cannot_be_reached_is_told_with_each_socket_that_was_tried(tmp_path: Path) -> None:
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    with pytest.raises(Unreachable) as caught:
        Client([tmp_path / "none.sock", stale]).get("/v1/status", Status)
    text = str(caught.value)
    assert f"{tmp_path}/none.sock: no such socket" in text
    assert f"{stale}: nobody answers there" in text
    assert "start it as it was started before (tuned)" in text


def test_a_socket_that_does_not_speak_http_is_unreachable(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        client = Client([path])
        pid = os.fork()
        if pid == 0:
            connection, _ = other.accept()
            connection.recv(1000)
            connection.sendall(b"220 mail.example.org\r\n")
            os._exit(0)
        with pytest.raises(Unreachable, match="broke off"):
            client.get("/v1/status", Status)
        os.waitpid(pid, 0)
