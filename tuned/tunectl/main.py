"""The command ``tunectl``: asks the daemon, and writes files into its spool.

Exit status: 0 done, 1 failed or refused, 2 usage, 3 the daemon cannot be reached. A command imports
inside itself all that it needs beyond asking: ``tunectl status`` must not wait for the parser of files.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from tuned import __version__
from tuned.errors import TunedError, Unreachable
from tuned.protocol.limits import MOST_WAIT_SECONDS
from tuned.tunectl import output
from tuned.tunectl.client import ReaderGone
from tuned.tunectl.commands import changing, disk, files, fleet, reading, tables
from tuned.tunectl.manual import Manual, help_command
from tuned.tunectl.session import DONE, FAILED, UNREACHABLE, Session, client_of

_FILE = click.Path(path_type=Path)


#: As of a process that SIGPIPE has ended.
_READER_GONE = 141


def main() -> NoReturn:
    """The process: an error is one message and an exit status."""
    output.install()
    try:
        sys.exit(_status())
    except (BrokenPipeError, ReaderGone):
        # The reader of our output has seen enough.
        _drop_output()
        sys.exit(_READER_GONE)
    except OSError as error:
        _drop_output()
        output.complain(TunedError(f"cannot go on: {error.filename or 'output'}: {error.strerror or error}"))
        sys.exit(FAILED)


def _drop_output() -> None:
    """Python must not flush the rest of it at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _status() -> int:
    try:
        status: int = commands.main(prog_name="tunectl", standalone_mode=False) or DONE
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        output.complain(TunedError(_usage(error)))
        return error.exit_code
    except Unreachable as error:
        output.complain(error)
        return UNREACHABLE
    except TunedError as error:
        output.complain(error)
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return 130
    return status


def _usage(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    context = error.ctx if isinstance(error, click.UsageError) else None
    return message if context is None else f"{message}\nsee {context.command_path} --help"


@click.group(cls=Manual, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="tunectl")
@click.option("--socket", type=_FILE, help="Control socket of the daemon.")
@click.option(
    "--timeout",
    type=click.IntRange(0, int(MOST_WAIT_SECONDS)),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the daemon's database.",
)
@click.pass_context
def commands(context: click.Context, socket: Path | None, timeout: int) -> None:
    """Control tuned, the hyperparameter-tuning daemon of this host."""
    context.obj = Session(client_of(socket, timeout), output.canvas())


for _command in (
    *reading.COMMANDS,
    *files.COMMANDS,
    *changing.COMMANDS,
    *disk.COMMANDS,
    *fleet.COMMANDS,
    *tables.COMMANDS,
    help_command,
):
    commands.add_command(_command)
