"""The command ``tuned-dashboard``: optuna-dashboard on the settings' database, for browsers on this host.

A process of its own, beside the daemon: what a person does there to a study, deleting it included, the
daemons find in the database, as they find what any other program did.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import click
import optuna_dashboard
from optuna.storages import RDBStorage

from tuned import __version__
from tuned.config import settings
from tuned.errors import TunedError
from tuned.storage.database import Database
from tuned.systemd import credentials

if TYPE_CHECKING:
    from types import FrameType


#: A browser that reaches the port may delete studies, so only this host's may reach it.
HOST = "127.0.0.1"


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
        url = settings.load(config_file, os.environ).storage
        Database(url).prepare()
    except TunedError as error:
        sys.exit(f"tuned-dashboard: {error}")
    # Connections that a restarted database has closed are noticed before they are used.
    application = optuna_dashboard.wsgi(RDBStorage(url, engine_kwargs={"pool_pre_ping": True}))
    try:
        server = make_server(HOST, port, application, server_class=_Server, handler_class=_Handler)
    except OSError as error:
        sys.exit(f"tuned-dashboard: cannot listen on {HOST}:{port}: {error.strerror}")
    click.echo(f"tuned-dashboard: http://{HOST}:{server.server_port}/", err=True)
    server.serve_forever()


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
