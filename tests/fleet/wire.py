"""A line to a server of the test, which can be made slow or silent: packets go on later, or wait."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url


class Wire:
    """Passes bytes on in both directions, each piece after a delay."""

    def __init__(self, url: str) -> None:
        """Leads to the server of this URL."""
        server = make_url(url)
        self._server = (server.host or "", server.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = server.set(port=self._listener.getsockname()[1]).render_as_string(hide_password=False)
        self.delay_seconds = 0.0
        self._passes = threading.Event()
        self._passes.set()
        self._ends: list[socket.socket] = []

    def fall_silent(self) -> None:
        """The connections stand, and bring nothing."""
        self._passes.clear()

    def speak(self) -> None:
        self._passes.set()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                self._join(self._listener.accept()[0])

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._passes.set()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._server, 10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._ends += [near, far]
        threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        """Passes on what one connection brings, until it ends."""
        back = threading.Thread(target=self._pass_on, args=(far, near), daemon=True)
        back.start()
        self._pass_on(near, far)
        back.join()
        for end in (near, far):
            self._ends.remove(end)
            end.close()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while piece := source.recv(2**16):
                time.sleep(self.delay_seconds)
                self._passes.wait()
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def wired_to(url: str) -> Iterator[Wire]:
    wire = Wire(url)
    threading.Thread(target=wire.serve, daemon=True).start()
    try:
        yield wire
    finally:
        wire.close()
