"""Connections to a PostgreSQL server: each is opened within limits, and all can be cut.

A server that accepts and does not answer would hang a thread without end, because psycopg2 has no limit for
an answer. Each connection is known here before its first statement, so that ``cut`` ends that one too. It
must never run a statement of ours, or set anything on a server's session, because a pooler in transaction
mode may stand in between.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from typing import Any

import psycopg2
from sqlalchemy import URL

#: For each host of a URL, and each address of a host.
CONNECT_SECONDS = 5

#: The client notices within seconds that a server vanished, not after the system's two hours.
_LIMITS = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "tuned",
}


class Server:
    """The hosts of one URL, of which libpq takes the first that will do. Threads may use it at once.

    All connections lead to one host. Else some would go on with a primary that hangs, or that is none any
    more, while others are with the one that was promoted. The host that was reached last is tried first: one
    that hangs delays one connection only, and an old primary that returns is not gone back to.
    """

    def __init__(self, url: URL) -> None:
        _, options = url.get_dialect()().create_connect_args(url)
        self._options: dict[str, Any] = {**options, **_LIMITS}
        hosts, ports = (str(options.get(name, "")).split(",") for name in ("host", "port"))
        self._hosts = list(zip(hosts, ports, strict=True)) if len(hosts) > 1 else []
        #: With the host and the port of each. Some of them may be closed.
        self._connections: weakref.WeakKeyDictionary[Any, tuple[str, str]] = weakref.WeakKeyDictionary()
        self._remembering = threading.Lock()

    def connect(self) -> Any:
        """A new connection of the driver. Raises the driver's OperationalError."""
        connection = psycopg2.connect(**self._options)
        host = (connection.info.host, str(connection.info.port))
        with self._remembering:
            self._try_first(host)
            elsewhere = [other for other, its in self._connections.items() if its != host]
            self._connections[connection] = host
        _shut_down(elsewhere)
        return connection

    def cut(self) -> None:
        """Shuts down all connections, so that no thread keeps waiting for a server that hangs."""
        with self._remembering:
            known = list(self._connections)
        _shut_down(known)

    def _try_first(self, host: tuple[str, str]) -> None:
        if host in self._hosts:
            order = [host, *(other for other in self._hosts if other != host)]
            hosts, ports = zip(*order, strict=True)
            self._options = {**self._options, "host": ",".join(hosts), "port": ",".join(ports)}


def _shut_down(connections: list[Any]) -> None:
    """A thread that waits for an answer gets an error at once."""
    for connection in [each for each in connections if not each.closed]:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
