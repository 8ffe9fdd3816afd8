"""The command ``tuned``: reads the settings, takes the state directory and the spool, and runs the daemon."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, get_args

import click
import structlog

from tuned import __version__
from tuned.config import described, loading
from tuned.config.settings_file import LogFormat
from tuned.config.slurm import task_of
from tuned.daemon.daemon import Daemon
from tuned.daemon.settle import settle
from tuned.daemon.upkeep.until_done import UntilDone, read
from tuned.disk.spool import Spool
from tuned.disk.state import StateDirectory
from tuned.domain.states import HostState
from tuned.errors import InvalidInput, Problem, TunedError
from tuned.storage.connection.engine import expected_of
from tuned.systemd import credentials, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tuned.config.settings import Settings


_FILE = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tuned")
@click.option("--config", "config_file", type=_FILE, help="Configuration file.")
@click.option("--spool", type=_FILE, help="Directory where experiment files are dropped.")
@click.option("--state-dir", type=_FILE, help="Directory of the embedded database, results and logs.")
@click.option("--socket", type=_FILE, help="Control socket.")
@click.option("--storage", help="SQLAlchemy URL of the database, without a password.")
@click.option("--slots", type=click.IntRange(min=1), help="Evaluations at once; default: the CPUs.")
@click.option("--log-format", type=click.Choice(get_args(LogFormat)), help="The form of log records.")
@click.option("--check-config", is_flag=True, help="Print what would be used, and exit.")
@click.option("--until-done", is_flag=True, help="Work on the files, and exit when nothing is left of them.")
@click.option("--settle", "is_settling", is_flag=True, help="End what a killed daemon left, and exit.")
@click.argument("files", type=_FILE, nargs=-1, metavar="[FILE]...")
def main(
    config_file: Path | None, *, check_config: bool, until_done: bool, is_settling: bool,
    files: tuple[Path, ...], **overrides: object,
) -> None:  # fmt: skip
    """The tuned daemon: evaluates the experiments in its spool until it is stopped.

    With --until-done it takes copies of experiment files, works on them alone, and exits with 0 when they are
    over or nothing is left for this host.
    """
    if until_done != bool(files):
        raise click.UsageError("--until-done and experiment files go together: tuned --until-done FILE...")

    def load() -> Settings:
        found = loading.load(config_file, os.environ, **overrides)
        # Other experiments of the fleet would keep it from its end.
        return replace(found, accepts=False) if until_done else found

    def reload() -> Settings:
        found = load()
        credentials.take_password_file(os.environ)
        return found

    with _exit_on_user_errors():
        settings = load()
        _require_database(settings)
        wanted = UntilDone(read(files), settings.spool, settings.expire_seconds)
        if check_config:
            click.echo(described.describe(settings), nl=False)
            return
        for number, ended in ((signal.SIGTERM, HostState.ABORTING), (signal.SIGINT, HostState.DRAINING)):
            signal.signal(number, partial(_leave, wanted.exit_status(ended)))
        log.configure(settings.log_format, host=settings.host)
        log.route_optuna()
        for warning in settings.warnings:
            structlog.get_logger().warning("configuration", warning=warning)
        credentials.drop_ambient_capabilities()
        credentials.take_password_file(os.environ)
        status = asyncio.run(_settle(settings) if is_settling else _run(settings, reload, wanted))
    # Everything is closed. An orderly end of the interpreter would take longer than the whole stop, and would
    # wait for a sampler that still draws.
    _leave(status)


def _require_database(settings: Settings) -> None:
    """Raises InvalidInput if the URL of the database cannot be right."""
    task = task_of(os.environ)
    expected = expected_of(settings.storage, settings.state_dir)
    if not expected and settings.storage.startswith("sqlite") and task and task.tasks > 1:
        expected = f"a PostgreSQL, because each of the {task.tasks} tasks of this job step is a host"
    if expected:
        found = described.describe_value("storage", settings.storage)
        raise InvalidInput(Problem(file="settings", key="storage", found=found, expected=expected))


async def _settle(settings: Settings) -> int:
    with _state(settings) as state:
        await settle(settings, state)
    return 0


async def _run(settings: Settings, reload: Callable[[], Settings], wanted: UntilDone) -> int:
    """The exit status."""
    with _state(settings) as state, Spool(settings.spool) as spool:
        wanted.drop()
        ended = await Daemon(settings, state, spool, reload, os.environ).serve(wanted)
    for file, problems in wanted.rejections.items():
        click.echo(f"tuned: {file} was rejected: {problems}", err=True)
    return wanted.exit_status(ended)


def _state(settings: Settings) -> AbstractContextManager[StateDirectory]:
    return StateDirectory.open(settings.state_dir, has_trials=settings.trials_service is None)


def _leave(status: int, *_: object) -> NoReturn:
    """Ends the process at once, waiting for no thread: nothing has begun yet, or everything is closed."""
    os._exit(status)


@contextmanager
def _exit_on_user_errors() -> Iterator[None]:
    """User errors exit with one message each; bugs keep their traceback."""
    try:
        yield
    except TunedError as error:
        _exit_with([error])
    except BaseExceptionGroup as group:
        known, others = group.split(TunedError)
        if known is None or others is not None:
            raise
        _exit_with(_leaves(known))


def _exit_with(errors: Iterable[BaseException]) -> NoReturn:
    for error in errors:
        click.echo(f"tuned: {error}", err=True)
    sys.exit(1)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
