"""Bodies, times and bytes that are not HTTP: each is answered with an error, within its bound."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.control.asking import ask, error_of, exchange, get
from tests.small_host import SmallHost, served


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
