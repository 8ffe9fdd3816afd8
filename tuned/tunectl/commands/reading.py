"""Commands of tunectl that print an answer of the daemon, for people or as JSON. They change nothing."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tuned.protocol.fields import TRIAL_STATES
from tuned.protocol.limits import MOST_TRIALS_PER_PAGE
from tuned.tunectl.client import experiment_path
from tuned.tunectl.pages import events as events_module
from tuned.tunectl.pages import experiments, host
from tuned.tunectl.pages import trials as trials_module
from tuned.tunectl.session import Session, as_json_option, name_argument, print_view

if TYPE_CHECKING:
    from tuned.protocol.trials import TrialView
    from tuned.tunectl.client import Client


@click.command()
@as_json_option
@click.pass_obj
def status(session: Session, *, as_json: bool) -> None:
    """Show this host: its state, experiments and slots."""
    view = session.client.get("/v1/status")
    print_view(as_json, view, lambda: host.status(session.canvas, view, datetime.now(UTC)))


@click.command("list")
@as_json_option
@click.pass_obj
def list_experiments(session: Session, *, as_json: bool) -> None:
    """List all experiments, the ended ones too."""
    view = session.client.get("/v1/experiments")
    print_view(
        as_json,
        view,
        lambda: experiments.experiments(session.canvas, view["experiments"], datetime.now(UTC)),
    )


@click.command()
@name_argument
@as_json_option
@click.pass_obj
def show(session: Session, name: str, *, as_json: bool) -> None:
    """Show one experiment.

    Its progress, budget, best trial and latest failures.
    """
    view = session.client.get(experiment_path(name))
    print_view(as_json, view, lambda: experiments.experiment(session.canvas, view, datetime.now(UTC)))


@click.command()
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
    print_view(as_json, {"trials": found}, lambda: trials_module.trials(session.canvas, found))


def _newest_trials(client: Client, name: str, state: str | None, limit: int | None) -> list[TrialView]:
    found: list[TrialView] = []
    before: int | None = None
    while limit is None or len(found) < limit:
        wanted = MOST_TRIALS_PER_PAGE if limit is None else limit - len(found)
        size = min(MOST_TRIALS_PER_PAGE, wanted)
        page = client.get(experiment_path(name, "trials"), state=state, limit=size, before=before)
        found += page["trials"]
        before = page["before"]
        if before is None:
            break
    return found


@click.command()
@name_argument
@as_json_option
@click.pass_obj
def best(session: Session, name: str, *, as_json: bool) -> None:
    """Show the best trial, or the front.

    The front, of several objectives: all trials that no other one beats.
    """
    view = session.client.get(experiment_path(name, "best"))
    print_view(as_json, view, lambda: trials_module.best(session.canvas, view["best"]))


@click.command()
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
            click.echo(events_module.event(session.canvas, event))


@click.command()
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


COMMANDS: tuple[click.Command, ...] = (status, list_experiments, show, trials, best, events, logs)
