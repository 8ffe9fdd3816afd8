"""Requests to the control socket, over http.client; an error comes out as the class that it went in as.

It imports little, because the shortest command starts and ends with it, and never prints.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from tuned.errors import (
    Conflict,
    DatabaseAway,
    Forbidden,
    InvalidInput,
    NotFound,
    Problem,
    TunedError,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from pathlib import Path

    from tuned.protocol.events import Event

    Options = Mapping[str, object]


#: For an answer that is not a stream. The daemon itself waits for its database for less.
ANSWER_SECONDS = 60.0


#: An answer that takes longer makes a person ask what for.
_NOTICEABLE_SECONDS = 1.0


_KINDS = {kind.code: kind for kind in (NotFound, Forbidden, Conflict, DatabaseAway)}


_PIECE_BYTES = 64 * 1024


def experiment_path(name: str, *rest: str) -> str:
    return "/".join(["/v1/experiments", quote(name, safe=""), *rest])


def host_path(name: str, *rest: str) -> str:
    return "/".join(["/v1/hosts", quote(name, safe=""), *rest])


class Client:
    """Asks the first daemon that can be reached on one of the sockets."""

    def __init__(
        self, paths: list[Path], *, wait_seconds: int = 0, on_wait: Callable[[str], None] = lambda _: None
    ) -> None:
        """The daemon waits so long for its database; ``on_wait`` is told the reason if that is noticeable."""
        self.paths = paths
        self._wait_seconds = wait_seconds
        self._on_wait = on_wait

    def get(self, path: str, **options: object) -> Any:
        return self._ask("GET", path, options)

    def post(self, path: str, *, body: bytes | None = None, **options: object) -> Any:
        return self._ask("POST", path, options, body)

    def events(self, *, within_seconds: float | None = None) -> Generator[Event, None, None]:
        """Events from the first ``next`` on, a snapshot first, until the daemon or the time ends."""
        deadline = None if within_seconds is None else time.monotonic() + within_seconds
        with self._stream("/v1/events", {}) as (connection, answer):
            while line := _next_line(connection, answer, deadline):
                yield json.loads(line)

    @contextlib.contextmanager
    def until_daemon_is_gone(self) -> Iterator[None]:
        """Does not leave the block before the daemon that answers at its beginning has ended.

        A daemon in a container is not seen from outside of it, and not waited for.
        """
        with contextlib.closing(self._connect()) as connection:
            pid = connection.peer_pid()
        process = _open_process(pid)
        try:
            yield
            if process is not None:
                select.select([process], [], [])
        finally:
            if process is not None:
                os.close(process)

    def text(self, path: str, **options: object) -> Generator[bytes, None, None]:
        """A stream of text, in the pieces in which it comes."""
        with self._stream(path, options) as (_, answer), _as_unreachable():
            while piece := answer.read1(_PIECE_BYTES):
                yield piece

    @contextlib.contextmanager
    def _stream(self, path: str, options: Options) -> Iterator[tuple[_Connection, http.client.HTTPResponse]]:
        with contextlib.closing(self._connect()) as connection:
            with _as_unreachable():
                answer = self._answer_to(connection, "GET", path, options)
            connection.settimeout(None)
            with contextlib.closing(answer):
                yield connection, answer

    def _ask(self, method: str, path: str, options: Options, body: bytes | None = None) -> Any:
        with contextlib.closing(self._connect()) as connection, _as_unreachable():
            return json.loads(self._answer_to(connection, method, path, options, body).read())

    def _answer_to(
        self, connection: _Connection, method: str, path: str, options: Options, body: bytes | None = None
    ) -> http.client.HTTPResponse:
        chosen = {key: value for key, value in options.items() if value is not None}
        with contextlib.suppress(BrokenPipeError):
            # The daemon may refuse a connection and close it; its reason can still be read then.
            headers = {"Prefer": f"wait={self._wait_seconds}"} if self._wait_seconds else {}
            connection.request(method, f"{path}?{urlencode(chosen)}" if chosen else path, body, headers)
        if self._wait_seconds and not connection.has_answer_within(_NOTICEABLE_SECONDS):
            self._tell_what_for()
        answer = connection.getresponse()
        if answer.status >= http.client.BAD_REQUEST:
            raise _error_of(answer.read())
        return answer

    def _tell_what_for(self) -> None:
        with contextlib.suppress(TunedError):
            database = Client(self.paths).get("/v1/status")["database"]
            if database["message"]:
                self._on_wait(f"waiting up to {self._wait_seconds} s: {database['message']}")

    def _connect(self) -> _Connection:
        failures: list[tuple[Path, OSError]] = []
        for path in self.paths:
            connection = _Connection(path)
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                failures.append((path, error))
            else:
                return connection
        raise _unreachable(failures)


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("tuned", timeout=ANSWER_SECONDS)
        self.path = path

    def connect(self) -> None:
        self._socket = self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.settimeout(ANSWER_SECONDS)
        self.sock.connect(str(self.path))

    def peer_pid(self) -> int:
        """The process that listens; 0 if it is in a namespace that we do not see."""
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("iII", credentials)[0])

    def has_answer_within(self, seconds: float) -> bool:
        return bool(select.select([self._socket], [], [], seconds)[0])

    def settimeout(self, seconds: float | None) -> None:
        # Not through ``sock``: that is gone once an answer has begun that ends with the connection.
        self._socket.settimeout(seconds)


def _open_process(pid: int) -> int | None:
    """A descriptor that can be read when the process has ended; None if there is no such process."""
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _next_line(connection: _Connection, answer: http.client.HTTPResponse, deadline: float | None) -> bytes:
    """Empty at the end of the answer, or of the time."""
    with _as_unreachable():
        if deadline is None:
            return answer.readline()
        left = deadline - time.monotonic()
        if left <= 0:
            return b""
        connection.settimeout(left)
        try:
            return answer.readline()
        except TimeoutError:
            return b""


def _error_of(body: bytes) -> TunedError:
    error = json.loads(body)["error"]
    if problems := error.get("problems"):
        return InvalidInput(*(Problem(**problem) for problem in problems))
    return _KINDS.get(error["code"], TunedError)(error["message"])


@contextlib.contextmanager
def _as_unreachable() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        text = f"cannot get an answer: the daemon gave none in {ANSWER_SECONDS:g} s; see journalctl -u tuned"
        raise Unreachable(text) from None
    except (ConnectionError, http.client.HTTPException, json.JSONDecodeError) as error:
        raise Unreachable(
            f"cannot get an answer: the connection to the daemon broke off ({error!r})"
        ) from None


def _unreachable(failures: list[tuple[Path, OSError]]) -> Unreachable:
    tried = "\n".join(f"  {path}: {_reason(error)}" for path, error in failures)
    hints = ["Is it running? systemctl status tuned", "Somewhere else? --socket PATH or TUNED_SOCKET=PATH"]
    if any(isinstance(error, PermissionError) for _, error in failures):
        hints.insert(
            0, f"The socket is closed to uid {os.geteuid()}: ask as root, or as a member of its group."
        )
    return Unreachable("\n".join(["cannot reach the daemon; tried:", tried, *hints]))


def _reason(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "no such socket"
        case ConnectionRefusedError():
            return "nobody answers there (left by a daemon that has gone)"
        case PermissionError():
            return "permission denied"
        case _:
            return error.strerror or str(error)
