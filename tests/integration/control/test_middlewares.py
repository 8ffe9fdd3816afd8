"""Errors as answers, and the peers that a trusted route lets in."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from tests.integration.control.asking import ask, error_of, exchange, get
from tests.integration.control.users import NEEDS_ROOT, OVERFLOW_UID, ask_as
from tests.small_host import SmallHost


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


async def test_the_allowed_method_is_named(address: Path) -> None:
    for target, method, allowed in [("/v1/drain", "GET", "POST"), ("/v1/status", "OPTIONS", "GET")]:
        status, headers, _ = await exchange(address, ask(method, target))
        assert (status, headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("expectation", ["100-continue", "odd"])
@pytest.mark.parametrize(("target", "expected"), [("/v1/status", 200), ("/nothing", 404)])
async def test_an_expectation_is_ignored(address: Path, expectation: str, target: str, expected: int) -> None:
    sent = ask("GET", target).replace(b"Host:", f"Expect: {expectation}\r\nHost:".encode())
    status, headers, _ = await exchange(address, sent)
    assert (status, headers["content-type"]) == (expected, "application/json")
