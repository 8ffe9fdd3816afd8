# ruff: noqa: PLC0415 (the reason is in the docstring)
"""The command ``tunectl``: asks the daemon, and writes files into its spool.

Exit status: 0 done, 1 failed or refused, 2 usage, 3 the daemon cannot be reached. What a command needs
beyond asking is imported inside it: ``tunectl status`` must not wait for what ``tunectl check`` needs.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from tuned import __version__, tunectl_fleet, tunectl_pages
from tuned.client import experiment_path
from tuned.errors import TunedError, Unreachable
from tuned.tables import Canvas
from tuned.tunectl_session import Session, as_json_option, client_of, name_argument, print_view
from tuned.views import TRIAL_STATES

if TYPE_CHECKING:
    from tuned.client import Client
    from tuned.views import Event, ExperimentSummary, TrialView

_FILE = click.Path(path_type=Path)

_DONE, _FAILED, _UNREACHABLE = 0, 1, 3


def main() -> NoReturn:
    """The process: what goes wrong is one message and an exit status."""
    try:
        status = commands.main(standalone_mode=False) or _DONE
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except Unreachable as error:
        status = _complain(error, _UNREACHABLE)
    except TunedError as error:
        status = _complain(error, _FAILED)
    except (KeyboardInterrupt, click.Abort):
        status = 130
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python must not flush the rest of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)


def _complain(error: TunedError, status: int) -> int:
    click.echo(f"tunectl: {error}", err=True)
    return status


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="tunectl")
@click.option("--socket", type=_FILE, help="Control socket of the daemon.")
@click.pass_context
def commands(context: click.Context, socket: Path | None) -> None:
    """Control tuned, the hyperparameter-tuning daemon of this host."""
    context.obj = Session(client_of(socket), _canvas())


def _canvas() -> Canvas:
    is_terminal = sys.stdout.isatty()
    has_colours = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = os.get_terminal_size(sys.stdout.fileno()).columns if is_terminal else 0
    # A terminal that does not know its width says 0.
    return Canvas(width=width or 80, has_colours=has_colours)


# Reading


@commands.command()
@as_json_option
@click.pass_obj
def status(session: Session, *, as_json: bool) -> None:
    """Show this host: its state, experiments and slots."""
    view = session.client.get("/v1/status")
    print_view(as_json, view, lambda: tunectl_pages.status(session.canvas, view, datetime.now(UTC)))


@commands.command("list")
@as_json_option
@click.pass_obj
def list_experiments(session: Session, *, as_json: bool) -> None:
    """List all experiments, the ended ones too."""
    view = session.client.get("/v1/experiments")
    print_view(
        as_json,
        view,
        lambda: tunectl_pages.experiments(session.canvas, view["experiments"], datetime.now(UTC)),
    )


@commands.command()
@name_argument
@as_json_option
@click.pass_obj
def show(session: Session, name: str, *, as_json: bool) -> None:
    """Show one experiment.

    Its progress, budget, best trial and latest failures.
    """
    view = session.client.get(experiment_path(name))
    print_view(as_json, view, lambda: tunectl_pages.experiment(session.canvas, view, datetime.now(UTC)))


@commands.command()
@name_argument
@click.option("--state", type=click.Choice(TRIAL_STATES, case_sensitive=False), help="Only these.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The newest.")
@click.option("-a", "--all", "wants_all", is_flag=True, help="All trials, not only the newest.")
@as_json_option
@click.pass_obj
def trials(
    session: Session, name: str, *, state: str | None, limit: int, wants_all: bool, as_json: bool
) -> None:
    """List the newest trials of an experiment."""
    found = list(reversed(_newest_trials(session.client, name, state, None if wants_all else limit)))
    print_view(as_json, {"trials": found}, lambda: tunectl_pages.trials(session.canvas, found))


def _newest_trials(client: Client, name: str, state: str | None, limit: int | None) -> list[TrialView]:
    found: list[TrialView] = []
    before: int | None = None
    while limit is None or len(found) < limit:
        size = 1000 if limit is None else min(1000, limit - len(found))
        page = client.get(experiment_path(name, "trials"), state=state, limit=size, before=before)
        found += page["trials"]
        before = page["before"]
        if before is None:
            break
    return found


@commands.command()
@name_argument
@as_json_option
@click.pass_obj
def best(session: Session, name: str, *, as_json: bool) -> None:
    """Show the best trial, or the front.

    The front, of several objectives: all trials that no other one beats.
    """
    view = session.client.get(experiment_path(name, "best"))
    print_view(as_json, view, lambda: tunectl_pages.best(session.canvas, view["best"]))


@commands.command()
@as_json_option
@click.pass_obj
def events(session: Session, *, as_json: bool) -> None:
    """Print what happens on this host.

    Goes on until it is interrupted, or the daemon ends.
    """
    for event in session.client.events():
        if as_json:
            click.echo(json.dumps(event))
        elif event["event"] != "snapshot":
            click.echo(tunectl_pages.event(session.canvas, event))


@commands.command()
@name_argument
@click.argument("trial", type=click.IntRange(min=0), required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the trial ends.")
@click.option("--json", "as_json", is_flag=True, help="Print each piece of output as a JSON object.")
@click.pass_obj
def logs(session: Session, name: str, trial: int | None, *, follow: bool, as_json: bool) -> None:
    """Print what a trial printed on this host.

    Without TRIAL, the newest one.
    """
    path = experiment_path(name, "logs")
    for piece in session.client.text(path, trial=trial, follow=int(follow)):
        if as_json:
            click.echo(json.dumps({"text": piece.decode(errors="replace")}))
        else:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


# Files


@commands.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--replace", "is_replacing", is_flag=True, help="Change the budgets of what is there.")
@click.pass_obj
def submit(session: Session, files: tuple[str, ...], *, is_replacing: bool) -> int:
    """Check files and put them into the spool.

    With --replace, an experiment that is there gets the file's budget, in the whole fleet.
    FILE may be -: standard input, which must have a name in it.
    Exits 1 if a file was wrong or rejected; the others are submitted all the same.
    """
    from tuned import tunectl_files

    act = tunectl_files.replace if is_replacing else tunectl_files.submit
    return act(session.client, files)


@commands.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.pass_obj
def check(session: Session, files: tuple[str, ...]) -> int:
    """Say what is wrong with files, or what they run.

    Lists all problems, not the first only. Needs no daemon.
    """
    from tuned import tunectl_files

    return tunectl_files.check(session.canvas, files)


@commands.command("try")
@click.argument("file")
@click.option("--random", "is_random", is_flag=True, help="A random point, also if the file has [[points]].")
@click.pass_obj
def try_file(session: Session, file: str, *, is_random: bool) -> int:
    """Evaluate one point, here and now.

    The first of [[points]], or any. Runs what the daemon would run, shows its output, and says
    what would go wrong at the daemon. Nothing is written to the database.
    """
    from tuned import tunectl_try

    return tunectl_try.run(session.canvas, file, is_random=is_random)


# Changing


def _change(session: Session, name: str, verb: str) -> None:
    summary = session.client.post(experiment_path(name, verb))
    click.echo(f"{name} is {summary['state']}" + (f": {summary['note']}" if summary["note"] else ""))


@commands.command()
@name_argument
@click.pass_obj
def cancel(session: Session, name: str) -> None:
    """End an experiment; what runs is stopped.

    In the whole fleet.
    """
    _change(session, name, "cancel")


@commands.command()
@name_argument
@click.pass_obj
def pause(session: Session, name: str) -> None:
    """Start no new trials of an experiment.

    In the whole fleet; what runs goes on.
    """
    _change(session, name, "pause")


@commands.command()
@name_argument
@click.pass_obj
def resume(session: Session, name: str) -> None:
    """Go on with a paused experiment."""
    _change(session, name, "resume")


@commands.command()
@click.option("--wait", "is_waiting", is_flag=True, help="Return when the daemon has ended.")
@click.pass_obj
def drain(session: Session, *, is_waiting: bool) -> None:
    """Let what runs finish, then end the daemon."""
    if not is_waiting:
        click.echo(session.client.post("/v1/drain")["state"])
        return
    with session.client.until_daemon_is_gone():
        following = session.client.events()
        next(following)
        click.echo(session.client.post("/v1/drain")["state"])
        for event in following:
            if event["event"] in {"host-state", "trial-ended"}:
                click.echo(tunectl_pages.event(session.canvas, event))


@commands.command()
@click.pass_obj
def abort(session: Session) -> None:
    """Kill what runs and end the daemon."""
    click.echo(session.client.post("/v1/abort")["state"])


@commands.command()
@name_argument
@click.pass_obj
def wait(session: Session, name: str) -> int:
    """Wait until an experiment ends.

    Exits 0 if it is done and has a value, 1 otherwise.
    """
    summary = _wait_for_end(session.client, name)
    found = summary["best"]
    click.echo(
        f"{name} is {summary['state']}" + (f", best trial {found['number']}" if found else ", no value")
    )
    return _DONE if summary["state"] == "done" and found else _FAILED


def _wait_for_end(client: Client, name: str) -> ExperimentSummary:
    following = client.events()
    next(following)
    while True:
        # Events say when to look, the answer says what is so: an event that was lost does no harm.
        summary: ExperimentSummary = client.get(experiment_path(name))["summary"]
        if summary["state"] in {"done", "cancelled"}:
            return summary
        if not any(_changes_state(event, name) for event in following):
            raise Unreachable(f"cannot wait for {name}: the daemon has ended")


def _changes_state(event: Event, name: str) -> bool:
    return event["event"] == "lost" or (event["event"] == "experiment-state" and event["experiment"] == name)


for _command in tunectl_fleet.COMMANDS:
    commands.add_command(_command)
