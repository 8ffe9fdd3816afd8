"""Requests to the control socket, over http.client; an error comes out as the class that it went in as.

Whatever answers there, a request ends: with an answer of its shape, or with an Unreachable that says why not.
It imports little, because the shortest command starts and ends with it, and never prints.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, TypeVar, get_args
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
from tuned.protocol.errors import ErrorView
from tuned.protocol.events import Event, EventName
from tuned.protocol.host import Status
from tuned.tunectl.answers import Misshapen, parsed
from tuned.tunectl.unreached import log_of, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from pathlib import Path

    from _typeshed import WriteableBuffer

    Options = Mapping[str, object]

T = TypeVar("T")


#: For an answer that is not a stream, from the question to its last byte. The daemon itself waits for its
#: database for less.
ANSWER_SECONDS = 60.0


#: An answer that takes longer makes a person ask what for.
_NOTICEABLE_SECONDS = 1.0
#: The front of a large study is the longest answer by far; this is some 200,000 trials.
MOST_ANSWER_BYTES = 64 * 2**20


_KINDS = {kind.code: kind for kind in (NotFound, Forbidden, Conflict, DatabaseAway)}


_EVENT_NAMES = frozenset(get_args(EventName))


_PIECE_BYTES = 64 * 1024


class ReaderGone(Exception):
    """Nobody reads any more what this process would print."""


def experiment_path(name: str, *rest: str) -> str:
    return "/".join(["/v1/experiments", quote(name, safe="", errors="surrogateescape"), *rest])


def host_path(name: str, *rest: str) -> str:
    return "/".join(["/v1/hosts", quote(name, safe=""), *rest])


class Client:
    """Asks the first daemon that can be reached on one of the sockets."""

    def __init__(
        self,
        paths: list[Path],
        *,
        answer_seconds: float = ANSWER_SECONDS,
        wait_seconds: int = 0,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """The daemon waits so long for its database; ``on_wait`` is told the reason if that is noticeable."""
        self.paths = paths
        self._answer_seconds = answer_seconds
        self._wait_seconds = wait_seconds
        self._on_wait = on_wait

    def patient(self, answer_seconds: float) -> Client:
        """The same, for an answer that may take so long."""
        return Client(
            self.paths,
            answer_seconds=answer_seconds,
            wait_seconds=self._wait_seconds,
            on_wait=self._on_wait,
        )

    def get(self, path: str, kind: type[T], **options: object) -> T:
        return self._ask("GET", path, kind, options)

    def post(self, path: str, kind: type[T], *, body: bytes | None = None, **options: object) -> T:
        return self._ask("POST", path, kind, options, body)

    def events(
        self, *, within_seconds: float | None = None, reader: int | None = None
    ) -> Generator[Event, None, None]:
        """Events from the first ``next`` on, a snapshot first, until the daemon or the time ends.

        ``reader`` is a descriptor that this process writes to: ReaderGone is raised if nobody reads from it.
        Events that this version does not know are left out.
        """
        deadline = None if within_seconds is None else time.monotonic() + within_seconds
        with self._stream("/v1/events", "application/x-ndjson", {}) as (connection, answer):
            connection.follow(deadline or self._end_of_an_answer(), reader)
            event = self._event(self._next_line(answer))
            connection.follow(deadline, reader)
            yield event
            while line := self._next_line(answer):
                event = self._event(line)
                if event["event"] in _EVENT_NAMES:
                    yield event

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

    def text(
        self, path: str, *, reader: int | None = None, **options: object
    ) -> Generator[bytes, None, None]:
        """A stream of text, in the pieces in which it comes; ``reader`` as of events()."""
        with self._stream(path, "text/plain", options) as (connection, answer), self._as_unreachable():
            is_endless = options.get("follow") == 1
            connection.follow(None if is_endless else self._end_of_an_answer(), reader)
            while piece := answer.read1(_PIECE_BYTES):
                yield piece
                connection.follow(None if is_endless else self._end_of_an_answer(), reader)

    @contextlib.contextmanager
    def _stream(
        self, path: str, content_type: str, options: Options
    ) -> Iterator[tuple[_Connection, http.client.HTTPResponse]]:
        with contextlib.closing(self._connect()) as connection:
            with self._as_unreachable():
                answer = self._answer_to(connection, "GET", path, options)
            with contextlib.closing(answer):
                with self._as_unreachable():
                    _require_type(answer, content_type)
                yield connection, answer

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
        if answer.status != http.client.OK:
            with contextlib.closing(answer):
                raise _error_of(answer)
        return answer

    def _tell_what_for(self) -> None:
        with contextlib.suppress(TunedError):
            database = Client(self.paths).get("/v1/status", Status)["database"]
            if database["message"]:
                self._on_wait(f"waiting up to {self._wait_seconds} s: {database['message']}")

    def _next_line(self, answer: http.client.HTTPResponse) -> bytes:
        """Empty at the end of the answer, or of the time."""
        with self._as_unreachable():
            try:
                line = answer.readline(MOST_ANSWER_BYTES)
            except TimeoutError:
                return b""
            if line and not line.endswith(b"\n"):
                raise http.client.IncompleteRead(line)
            return line

    def _event(self, line: bytes) -> Event:
        with self._as_unreachable():
            if not line:
                raise http.client.IncompleteRead(line)
            return parsed(Event, line)

    def _end_of_an_answer(self) -> float:
        return time.monotonic() + self._answer_seconds

    def _ask(self, method: str, path: str, kind: type[T], options: Options, body: bytes | None = None) -> T:
        with (
            contextlib.closing(self._connect()) as connection,
            self._as_unreachable(),
            contextlib.closing(self._answer_to(connection, method, path, options, body)) as answer,
        ):
            _require_type(answer, "application/json")
            return parsed(kind, _body(answer))

    @contextlib.contextmanager
    def _as_unreachable(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            found = f"the daemon gave none in {self._answer_seconds:g} s; see {log_of(self.paths)}"
            raise Unreachable(f"cannot get an answer: {found}") from None
        except Misshapen as error:
            text = f"cannot understand the daemon's answer: {error}; is tunectl of the daemon's version?"
            raise Unreachable(text) from None
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            raise Unreachable(
                f"cannot get an answer: the connection to the daemon broke off ({error!r:.200})"
            ) from None

    def _connect(self) -> _Connection:
        failures: list[tuple[Path, OSError]] = []
        for path in self.paths:
            connection = _Connection(path, self._answer_seconds)
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                failures.append((path, error))
            else:
                return connection
        raise unreachable(failures)


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, answer_seconds: float) -> None:
        super().__init__("tuned")
        self.path = path
        self._answer_seconds = answer_seconds

    def connect(self) -> None:
        self._socket = self.sock = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.deadline = time.monotonic() + self._answer_seconds
        self.sock.settimeout(self._answer_seconds)
        self.sock.connect(str(self.path))

    def peer_pid(self) -> int:
        """The process that listens; 0 if it is in a namespace that we do not see."""
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("iII", credentials)[0])

    def has_answer_within(self, seconds: float) -> bool:
        return bool(select.select([self._socket], [], [], seconds)[0])

    def follow(self, deadline: float | None, reader: int | None) -> None:
        """The rest of the answer is a stream."""
        # Not through ``sock``: that is gone once an answer has begun that ends with the connection.
        self._socket.settimeout(None)
        self._socket.deadline = deadline
        self._socket.reader = reader


class _Socket(socket.socket):
    """A socket that is read until one moment, however slowly the bytes come, or until nobody wants them."""

    deadline: float | None = None
    #: Where the bytes go in the end.
    reader: int | None = None

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        poll = select.poll()
        poll.register(self, select.POLLIN)
        if self.reader is not None:
            # Without a wish: only errors and the end are told.
            poll.register(self.reader, 0)
        left = None if self.deadline is None else 1000 * max(0.0, self.deadline - time.monotonic())
        ready = {descriptor for descriptor, _ in poll.poll(left)}
        if not ready:
            raise TimeoutError
        if self.reader in ready:
            raise ReaderGone
        return super().recv_into(buffer, nbytes, flags)


def _open_process(pid: int) -> int | None:
    """A descriptor that can be read when the process has ended; None if there is no such process."""
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _error_of(answer: http.client.HTTPResponse) -> TunedError:
    try:
        error = parsed(ErrorView, _body(answer))["error"]
    except Misshapen as misshapen:
        raise Misshapen(f"HTTP status {answer.status}, {misshapen}") from None
    if problems := error.get("problems"):
        return InvalidInput(
            *(
                Problem(file=each["file"], key=each["key"], found=each["found"], expected=each["expected"])
                for each in problems
            )
        )
    return _KINDS.get(error["code"], TunedError)(error["message"])


def _body(answer: http.client.HTTPResponse) -> bytes:
    body = answer.read(MOST_ANSWER_BYTES + 1)
    if len(body) > MOST_ANSWER_BYTES:
        raise Misshapen(f"found over {MOST_ANSWER_BYTES} bytes")
    return body


def _require_type(answer: http.client.HTTPResponse, expected: str) -> None:
    found = answer.headers.get_content_type()
    if found != expected:
        raise Misshapen(f"found {found}, expected {expected}")
