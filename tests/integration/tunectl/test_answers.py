"""Every command against a socket that answers oddly: one line and an exit status, never a traceback."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.tunectl.odd_daemon import always, answer, answering, asked_of
from tests.integration.tunectl.running import run, tunectl
from tests.small_host import SmallHost, a_finding, served
from tuned.errors import Unreachable
from tuned.protocol.host import Status
from tuned.tunectl import client as client_module
from tuned.tunectl.client import Client

COMMANDS = [
    ["status"], ["list"], ["show", "minima"], ["trials", "minima"], ["trials", "minima", "--all"],
    ["best", "minima"], ["best", "minima", "-n", "2"], ["hosts"], ["explain", "minima", "7"],
    ["logs", "minima", "3"], ["doctor"], ["doctor", "--fix"], ["retry", "minima", "--failed"],
    ["pause", "minima"], ["drain"], ["events"], ["wait", "minima"], ["status", "--json"],
]  # fmt: skip

#: How many mutations of each command's answer are tried.
TRIES = 25

#: Forks for each call, because a new process takes a second on a busy machine.
AGAIN_AND_AGAIN = [sys.executable, "-c", """
import os, sys
from tuned.tunectl.main import main
for _ in range(int(sys.argv.pop(1))):
    if (child := os.fork()) == 0:
        main()
    print("exit status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=sys.stderr, flush=True)
"""]  # fmt: skip

ODD_VALUES: list[Any] = [
    None,
    True,
    -1,
    2**64,
    10**400,
    1e308,
    "",
    "\x1b[2J",
    "\ud800",
    [],
    {},
    [[]],
    {"": None},
    0.5,
]


def mutated(whole: bytes, chance: random.Random) -> bytes:
    """The answer with one thing changed: in its JSON if it has some, or anywhere in its bytes."""
    head, _, rest = whole.partition(b"\r\n\r\n")
    text = rest[rest.find(b"{") : rest.rfind(b"}") + 1]
    kind = b"application/x-ndjson" if b"ndjson" in head else b"application/json"
    if text and chance.random() < 0.7:
        value = json.loads(text)
        change_one(value, chance)
        return answer(json.dumps(value).encode() + b"\n", kind=kind)
    start, end = sorted(chance.randrange(len(whole)) for _ in range(2))
    before, cut, after = whole[:start], whole[start:end], whole[end:]
    return chance.choice(
        [before, before + after, before + cut * 3 + after, before + chance.randbytes(5) + after,
         whole.replace(b"200", b"500", 1), whole.replace(b"json", b"html", 1), answer(text, status=302)]
    )  # fmt: skip


def change_one(value: Any, chance: random.Random) -> None:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = chance.choice(list(keys))
    if isinstance(value[key], dict | list) and value[key] and chance.random() < 0.8:
        change_one(value[key], chance)
    elif isinstance(value, dict) and chance.random() < 0.2:
        del value[key]
    else:
        value[key] = chance.choice(ODD_VALUES)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
async def test_an_odd_answer_is_one_error_and_never_a_traceback(arguments: list[str], tmp_path: Path) -> None:
    real, odd = tmp_path / "real.sock", tmp_path / "odd.sock"
    chance = random.Random(" ".join(arguments))

    async def give(request: bytes) -> bytes:
        return mutated(await asked_of(real, request), chance)

    host = SmallHost()
    host.findings = [a_finding()]
    async with served(host, real), answering(odd, give):
        status, out, err = await run([*AGAIN_AND_AGAIN, str(TRIES), *arguments], odd, seconds=120)
    assert (status, "Traceback" in out + err) == (0, False), out + err
    assert all(line.isprintable() for line in out.splitlines())
    ended = [line for line in err.splitlines() if line.startswith("exit status ")]
    assert len(ended) == TRIES
    assert set(ended) <= {"exit status 0", "exit status 1", "exit status 3"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"220 mail.example.org\r\n", "broke off"),
        (b"", "broke off"),
        (answer(b"<html>", kind=b"text/html"), "found text/html, expected application/json"),
        (answer(b'{"host": "alpha"')[:-5], "expected JSON"),
        (answer(b"{}"), "host: found nothing"),
        (answer(b"not here", status=404), "HTTP status 404"),
        (answer(b"{}", status=302), "HTTP status 302"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, "broke off"),
        (answer(b'{"error": {"code": "x", "message": "no\\u001b[2J\\ntunectl: all is well"}}', status=500),
         "tunectl: no\n  tunectl: all is well"),
    ],
    ids=range(9),
)  # fmt: skip
async def test_an_odd_answer_is_told_in_one_form(path: Path, body: bytes, expected: str) -> None:
    async with answering(path, functools.partial(always, body)):
        status, out, err = await tunectl(path, "status")
    assert (status in {1, 3}, out, err.startswith("tunectl: ")) == (True, "", True)
    assert expected in err
    assert "Traceback" not in err


async def test_an_answer_without_end_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MOST_ANSWER_BYTES", 1000)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    async with answering(path, functools.partial(always, head + b" " * 2000), stays=True):
        with pytest.raises(Unreachable, match="found over 1000 bytes"):
            await asyncio.to_thread(Client([path]).get, "/v1/status", Status)


async def test_an_answer_that_comes_too_slowly_is_given_up(path: Path) -> None:
    client = Client([path], answer_seconds=0.2)
    for begun in (b"", b"HTTP/1.1 200 OK\r\nContent-Type: appl", answer(b"{}")[:-1]):
        async with answering(path, functools.partial(always, begun), stays=True):
            with pytest.raises(Unreachable, match=r"none in 0\.2 s"):
                await asyncio.to_thread(client.get, "/v1/status", Status)


async def test_pages_without_end_are_given_up(path: Path) -> None:
    page = answer(json.dumps({"trials": [], "before": 7}).encode())
    async with answering(path, functools.partial(always, page)):
        status, _, err = await tunectl(path, "trials", "minima", "--all")
    assert (status, "page 7 twice" in err) == (3, True)
