"""The real ``tuned-dashboard`` as a process of its own, and requests to it as a program makes them."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tests.acceptance.forked import Program, fork, plain_environment
from tests.waiting import until


class _Stays(HTTPRedirectHandler):
    """Follows no redirection."""

    def redirect_request(self, *_: Any) -> None:
        return None


@contextmanager
def serving(config: Path, *options: str) -> Iterator[str]:
    """A dashboard on the database of these settings; its address. It ends with 0 when it is told to."""
    log = config.parent / "dashboard.log"
    log.unlink(missing_ok=True)
    arguments = ["--config", str(config), "--socket", str(config.parent / "sock"), "--port", "0", *options]
    process = fork(
        Program(
            module="tests.acceptance.dashboard", arguments=arguments, environment=plain_environment(),
            directory="/", log=str(log),
        ),
        imported=["tests.acceptance.dashboard"],
    )  # fmt: skip

    def address() -> str:
        assert process.poll() is None, f"it ended with {process.returncode}: {log.read_text()}"
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text() if log.exists() else "")
        return found.group() if found else ""

    try:
        yield until(address, what="the dashboard to tell its address", seconds=60)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()


def ask(
    address: str,
    path: str,
    method: str = "GET",
    *,
    content: object = None,
    headers: dict[str, str] | None = None,
) -> Any:
    """The answer's JSON; None for an empty one. Raises HTTPError."""
    sent = None if content is None else json.dumps(content).encode()
    every = {"Content-Type": "application/json", **(headers or {})}
    with build_opener(_Stays).open(
        Request(f"{address}{path}", sent, every, method=method), timeout=60
    ) as answer:
        body = answer.read()
    return json.loads(body) if body else None


def text(address: str, path: str = "/", headers: dict[str, str] | None = None) -> str:
    with build_opener(_Stays).open(Request(f"{address}{path}", None, headers or {}), timeout=60) as answer:
        return str(answer.read().decode())


def status(
    address: str,
    path: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    sent: bytes | None = None,
) -> int:
    try:
        request = Request(f"{address}{path}", sent, headers or {}, method=method)
        with build_opener(_Stays).open(request, timeout=60) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code
