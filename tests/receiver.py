"""An HTTP server that gets notifications, and answers as a test wants it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(kw_only=True)
class Receiver:
    """Its answers come in their order, the last one for ever."""

    port: int = 0
    #: Each a status and headers.
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(204, {})])
    #: The documents that came, and the headers beside them.
    got: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    #: Requests wait for it after they were read.
    is_open: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/very-secret"

    def answer(self) -> tuple[int, dict[str, str]]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def texts(self) -> list[str]:
        return [each["text"] for each in self.got]


@contextmanager
def receiving(*answers: tuple[int, dict[str, str]], hangs: bool = False) -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.answers[:] = answers or receiver.answers
    if not hangs:
        receiver.is_open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.headers.append(dict(self.headers.items()))
            receiver.got.append(json.loads(body))
            receiver.is_open.wait(60)
            status, headers = receiver.answer()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 (its name in the library)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.is_open.set()
        server.shutdown()
        server.server_close()
        thread.join()
