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
from tuned.tunectl.commands import changing, files, fleet, reading
from tuned.tunectl.session import DONE, FAILED, UNREACHABLE, Session, client_of
from tuned.tunectl.text import Canvas

_FILE = click.Path(path_type=Path)


def main() -> NoReturn:
    """The process: an error is one message and an exit status."""
    try:
        status = commands.main(standalone_mode=False) or DONE
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except Unreachable as error:
        status = _complain(error, UNREACHABLE)
    except TunedError as error:
        status = _complain(error, FAILED)
    except (KeyboardInterrupt, click.Abort):
        status = 130
    except BrokenPipeError:
        # The reader of our output has seen enough. Python must not flush the rest of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)


def _complain(error: TunedError, status: int) -> int:
    click.echo(f"tunectl: {error}", err=True)
    return status


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
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
    context.obj = Session(client_of(socket, timeout), _canvas())


def _canvas() -> Canvas:
    is_terminal = sys.stdout.isatty()
    has_colours = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = os.get_terminal_size(sys.stdout.fileno()).columns if is_terminal else 0
    # A terminal that does not know its width says 0.
    return Canvas(width=width or 80, has_colours=has_colours)


for _command in (*reading.COMMANDS, *files.COMMANDS, *changing.COMMANDS, *fleet.COMMANDS):
    commands.add_command(_command)
