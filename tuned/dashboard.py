"""The command ``tuned-dashboard``: optuna-dashboard on the settings' database, for browsers on this host.

A process of its own, beside the daemon: what a person does there to a study, deleting it included, the
daemons find in the database, as they find what any other program did. It must never answer a page of another
site: a browser on this host asks for every page that it shows.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import signal
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import click
import optuna_dashboard
from optuna.storages import RDBStorage

from tuned import __version__
from tuned.config import loading
from tuned.errors import TunedError
from tuned.storage.database import Database
from tuned.systemd import credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


#: A browser that reaches the port may delete studies, so only this host's may reach it.
HOST = "127.0.0.1"

#: The port is free: a forwarded one may have any number.
_AUTHORITY = re.compile(r"(?:\[(?P<literal>[^\]]*)\]|(?P<name>[^:]*))(?::[0-9]{1,5})?")

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class _Server(ThreadingMixIn, WSGIServer):
    """A browser's idle connections keep nobody else waiting."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing: a page that is open asks every few seconds."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tuned-dashboard")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration file.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free one."
)
def main(config_file: Path | None, port: int) -> None:
    """optuna-dashboard on tuned's database, at http://127.0.0.1:PORT/, until it is stopped."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    credentials.take_password_file(os.environ)
    try:
        url = loading.load(config_file, os.environ).storage
        Database(url).prepare()
    except TunedError as error:
        sys.exit(f"tuned-dashboard: {error}")
    # Connections that a restarted database has closed are noticed before they are used.
    application = guarded(optuna_dashboard.wsgi(RDBStorage(url, engine_kwargs={"pool_pre_ping": True})))
    try:
        server = make_server(HOST, port, application, server_class=_Server, handler_class=_Handler)
    except OSError as error:
        sys.exit(f"tuned-dashboard: cannot listen on {HOST}:{port}: {error.strerror}")
    click.echo(f"tuned-dashboard: http://{HOST}:{server.server_port}/", err=True)
    server.serve_forever()


def guarded(application: WSGIApplication) -> WSGIApplication:
    """Refuses requests that a page of another site makes with a browser of this host."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        refusal = _refusal(environ)
        if refusal is None:
            return application(environ, functools.partial(_start_unframed, start_response))
        body = f"tuned-dashboard: {refusal}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response("403 Forbidden", headers)
        return [body]

    return answer


def _start_unframed(
    start_response: StartResponse, status: str, headers: list[tuple[str, str]], *rest: Any
) -> Callable[[bytes], object]:
    """Begins an answer that no page of another site may show under its own buttons."""
    return start_response(status, [*headers, ("X-Frame-Options", "DENY")], *rest)


def _refusal(environ: WSGIEnvironment) -> str | None:
    """Why a request is refused; None if it is answered."""
    host = environ.get("HTTP_HOST", "")
    if not _is_loopback(host):
        # A name of another site that leads here (DNS rebinding) comes with that site's scripts.
        return "found another Host, expected localhost or a loopback address; forward the port to this host"
    if environ["REQUEST_METHOD"] in _READING:
        return None
    # Every browser says from where it comes if a page changes something. A program need not.
    origin, site = environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE")
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return "found a change from a page of another Origin, expected the dashboard's own"
    if site not in {None, "same-origin"}:
        return "found a change from another site, expected the dashboard's own page"
    return None


def _is_loopback(authority: str) -> bool:
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return False
    literal, name = parts["literal"], parts["name"]
    try:
        if literal is not None:
            return ipaddress.IPv6Address(literal).is_loopback
        return name.lower() == "localhost" or ipaddress.IPv4Address(name).is_loopback
    except ValueError:
        return False


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
