"""A POST arrives, or says why not: without its secret, within bounds, and where it was sent alone."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import re
import socket

import pytest

from tests.receiver import receiving
from tuned.daemon.upkeep.posting import Failed, post

BODY = json.dumps({"text": "x"}).encode()


async def tried(url: str, seconds: float = 20.0) -> Failed:
    failed = await post(url, BODY, "n1", seconds=seconds)
    assert failed is not None
    assert "secret" not in failed.problem
    return failed


async def test_any_success_delivers_json_with_the_id_beside_it() -> None:
    with receiving((200, {}), (204, {})) as receiver:
        assert await post(receiver.url, BODY, "n1") is await post(receiver.url, BODY, "n1") is None
        assert receiver.got == [{"text": "x"}] * 2
        assert receiver.headers[0]["Idempotency-Key"] == "n1"
        assert receiver.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "headers", "words", "pause"),
    [
        (500, {}, "answered 500", 0.0),
        (404, {}, "answered 404", 0.0),
        (429, {"Retry-After": "120"}, "answered 429", 120.0),
        (503, {"Retry-After": "soon"}, "answered 503", 0.0),
        (503, {"Retry-After": "9" * 30}, "answered 503", 24 * 3600.0),
    ],
)
async def test_any_other_status_fails_and_may_ask_for_a_pause(
    status: int, headers: dict[str, str], words: str, pause: float
) -> None:
    with receiving((status, headers)) as receiver:
        failed = await tried(receiver.url)
        assert failed == Failed(problem=f"http://127.0.0.1:{receiver.port}/… {words}", pause_seconds=pause)


async def test_a_pause_may_be_a_date() -> None:
    then = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    with receiving((503, {"Retry-After": email.utils.format_datetime(then, usegmt=True)})) as receiver:
        assert 3500 < (await tried(receiver.url)).pause_seconds <= 3600


async def test_a_redirection_is_told_and_not_followed() -> None:
    with receiving() as other, receiving((307, {"Location": other.url})) as receiver:
        failed = await tried(receiver.url)
        assert "a redirection to 127.0.0.1, which is not followed" in failed.problem
        assert (len(receiver.got), other.got) == (1, [])


async def test_one_that_hangs_or_is_not_there_fails_within_a_bound() -> None:
    with receiving(hangs=True) as receiver:
        assert "gave no answer within 0.3 s" in (await tried(receiver.url, 0.3)).problem
    assert re.search("cannot be reached: .*refused", (await tried(receiver.url)).problem)


async def test_one_that_talks_no_tls_or_no_http_fails() -> None:
    with receiving() as receiver:
        assert "cannot be reached" in (await tried(receiver.url.replace("http:", "https:"), 2)).problem
        assert receiver.got == []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        port = listener.getsockname()[1]
        listener.close()
        assert "cannot be reached" in (await tried(f"http://127.0.0.1:{port}/secret")).problem


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, receiving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert await post(receiver.url, BODY, "n1") is None
        assert (len(receiver.got), proxy.got) == (1, [])
