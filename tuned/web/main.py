"""The command ``tuned-dashboard``: the fleet's pages on the settings' database, until it is stopped.

A process of its own, beside the daemon: it reads the database by itself, and asks the daemon of its host for
what only that one knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import optuna
from aiohttp import web

from tuned import __version__
from tuned.config import loading
from tuned.config.paths import socket_candidates
from tuned.errors import TunedError
from tuned.storage.database import Database
from tuned.systemd import credentials, log
from tuned.web.application import application
from tuned.web.guard import Guard, is_loopback
from tuned.web.host import Host
from tuned.web.mount import Mount
from tuned.web.pages import Pages
from tuned.web.plots import Painter
from tuned.web.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Of the credential that has the token under systemd.
TOKEN_CREDENTIAL = "dashboard-token"  # noqa: S105 (a file's name)

#: One that can be guessed is none.
_FEWEST_LETTERS = 16

#: A browser that is slow to go is not waited for longer.
_END_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    host: str
    port: int
    token: str | None
    allows_changes: bool
    sockets: list[Path]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tuned-dashboard")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration file.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; beyond loopback with a token.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free one."
)
@click.option("--socket", type=click.Path(path_type=Path), help="Control socket of this host's daemon.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), help="Its first line is asked of each browser."
)
@click.option(
    "--allow-changes", is_flag=True, help="Pause, resume and cancel, and all that optuna-dashboard can."
)
def main(  # noqa: PLR0917 (click calls it, by keyword)
    config_file: Path | None,
    host: str,
    port: int,
    socket: Path | None,
    token_file: Path | None,
    allow_changes: bool,
) -> None:
    """The fleet in a browser, at http://127.0.0.1:PORT/, until it is stopped."""
    credentials.take_password_file(os.environ)
    log.configure("auto")
    # It tells of each study that a chart makes in memory.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        options = _Options(
            host=host,
            port=port,
            token=token_of(host, token_file, os.environ),
            allows_changes=allow_changes,
            sockets=[socket] if socket else socket_candidates(os.environ),
        )
        database = Database(loading.load(config_file, os.environ).storage)
        database.prepare()
        mount = Mount(database)
    except TunedError as error:
        sys.exit(f"tuned-dashboard: {error}")
    asyncio.run(_serve(options, database, mount))


def token_of(host: str, file: Path | None, environ: Mapping[str, str]) -> str | None:
    """From the file, or from systemd's credential; None without one.

    Raises TunedError if there must be one.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory, TOKEN_CREDENTIAL) if directory else None
    if file is None and (credential is None or not credential.exists()):
        token = None
    else:
        token = _first_line(file or credential or Path())
        if token is None and file is not None:
            raise TunedError(f"{file}: found no token, expected one in its first line")
    if token is not None and len(token) < _FEWEST_LETTERS:
        raise TunedError(f"found a token of {len(token)} letters, expected at least {_FEWEST_LETTERS}")
    if token is None and not is_loopback(f"[{host}]" if ":" in host else host):
        raise TunedError(f"--host: found {host}, expected a loopback address, or a token: --token-file")
    return token


def _first_line(file: Path) -> str | None:
    """None if it is empty, or a comment as in the place of a credential that nobody gave."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TunedError(f"{file}: cannot read the token: {error}") from None
    line = lines[0].strip() if lines else ""
    return line if line and not line.startswith("#") else None


async def _serve(options: _Options, database: Database, mount: Mount) -> None:
    host = Host(sockets=options.sockets)
    reader, painter = Reader(database, host), Painter(database)
    guard = Guard(token=options.token, allows_changes=options.allows_changes)
    pages = Pages(reader=reader, painter=painter, host=host, allows_changes=options.allows_changes)
    runner = web.AppRunner(
        application(guard=guard, pages=pages, host=host, mount=mount), access_log=None,
        shutdown_timeout=_END_SECONDS,
    )  # fmt: skip
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port)
        await site.start()
    except OSError as error:
        sys.exit(f"tuned-dashboard: cannot listen on {options.host}:{options.port}: {_reason(error)}")
    click.echo(f"tuned-dashboard: {_address(runner)}", err=True)
    # The first browser finds what there is already read.
    first = asyncio.ensure_future(reader.fleet())
    await _until_told()
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError, TunedError):
        await first
    await runner.cleanup()
    for each in (reader, painter, mount):
        each.close()
    database.close()
    database.cut()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and not isinstance(error, socket.gaierror) else str(error)


def _address(runner: web.AppRunner) -> str:
    host, port, *_ = runner.addresses[0]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


async def _until_told() -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()
