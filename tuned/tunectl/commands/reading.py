"""Commands of tunectl that print an answer of the daemon, for people or as JSON. They change nothing."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tuned.errors import NotFound, Unreachable
from tuned.protocol.experiments import ExperimentsView, ExperimentView
from tuned.protocol.fields import TRIAL_STATES
from tuned.protocol.host import Status
from tuned.protocol.limits import MOST_TRIALS_PER_PAGE
from tuned.protocol.trials import BestsView, TrialsView
from tuned.tunectl.client import experiment_path
from tuned.tunectl.output import TrialOutput, json_text, texts
from tuned.tunectl.pages import events as events_module
from tuned.tunectl.pages import experiments, host
from tuned.tunectl.pages import trials as trials_module
from tuned.tunectl.session import (
    DONE,
    FAILED,
    Session,
    as_json_option,
    name_argument,
    print_view,
    trial_argument,
)

if TYPE_CHECKING:
    from tuned.protocol.trials import TrialView
    from tuned.tunectl.client import Client


@click.command(context_settings={"allow_extra_args": True})
@as_json_option
@click.pass_context
def status(context: click.Context, *, as_json: bool) -> None:
    """Show this host: its state, experiments and slots."""
    if context.args:
        raise click.UsageError(
            f"status shows this host; for one experiment: tunectl show {context.args[0]}", context
        )
    session = context.find_object(Session)
    assert session is not None
    canvas, view = session.canvas, session.client.get("/v1/status", Status)
    print_view(as_json, view, lambda: host.status(canvas, view, datetime.now(UTC)))


@click.command("list")
@as_json_option
@click.pass_obj
def list_experiments(session: Session, *, as_json: bool) -> None:
    """List all experiments, the ended ones too."""
    view = session.client.get("/v1/experiments", ExperimentsView)
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

    Its progress, budget, best trial and latest failures, and where its file and its outputs are.
    """
    view = session.client.get(experiment_path(name), ExperimentView)
    print_view(as_json, view, lambda: experiments.experiment(session.canvas, view, datetime.now(UTC)))


@click.command()
@name_argument
@click.option("--state", type=click.Choice(TRIAL_STATES, case_sensitive=False), help="Only these.")
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many."
)
@click.option("-a", "--all", "wants_all", is_flag=True, help="All trials, not only the newest.")
@click.option(
    "--sort", type=click.Choice(["value"]), help="By the first value, the best trial last; not the newest."
)
@as_json_option
@click.pass_obj
def trials(
    session: Session,
    name: str,
    *,
    state: str | None,
    limit: int,
    wants_all: bool,
    sort: str | None,
    as_json: bool,
) -> None:
    """List the newest trials of an experiment, or those with the best values."""
    if sort is None:
        found = _newest_trials(session.client, name, state, None if wants_all else limit)
    elif wants_all or limit > MOST_TRIALS_PER_PAGE:
        raise click.UsageError(f"at most {MOST_TRIALS_PER_PAGE} trials can be sorted, choose with --limit")
    else:
        path = experiment_path(name, "trials")
        found = session.client.get(path, TrialsView, state=state, limit=limit, sort=sort)["trials"]
    found.reverse()
    print_view(as_json, {"trials": found}, lambda: trials_module.trials(session.canvas, found))


def _newest_trials(client: Client, name: str, state: str | None, limit: int | None) -> list[TrialView]:
    found: list[TrialView] = []
    before: int | None = None
    while limit is None or len(found) < limit:
        wanted = MOST_TRIALS_PER_PAGE if limit is None else limit - len(found)
        size = min(MOST_TRIALS_PER_PAGE, wanted)
        page = client.get(experiment_path(name, "trials"), TrialsView, state=state, limit=size, before=before)
        found += page["trials"]
        following = page["before"]
        if following is None:
            break
        if before is not None and following >= before:
            raise Unreachable(f"cannot list trials: the daemon gave page {following} twice")
        before = following
    return found


@click.command()
@name_argument
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, MOST_TRIALS_PER_PAGE),
    metavar="N",
    help="The best so many trials.",
)
@as_json_option
@click.pass_obj
def best(session: Session, name: str, *, limit: int | None, as_json: bool) -> int:
    """Show the best trial, or the front.

    The front, of several objectives: all trials that no other one beats. Only feasible trials count. If
    none is, shows the nearest one, and exits 1, as without a value.
    """
    view = session.client.get(experiment_path(name, "best"), BestsView, limit=limit)
    if not view["best"] and view["nearest"] is None and not as_json:
        raise NotFound(f"cannot show the best trial of {name}: it has no value yet")
    print_view(
        as_json,
        view,
        lambda: trials_module.best(session.canvas, view, is_table=limit is not None),
    )
    return DONE if view["best"] else FAILED


@click.command()
@as_json_option
@click.pass_obj
def events(session: Session, *, as_json: bool) -> None:
    """Print what happens on this host.

    Goes on until it is interrupted, nobody reads its output any more, or the daemon ends.
    """
    for event in session.client.events(reader=_stdout()):
        if as_json:
            click.echo(json_text(event))
        elif event["event"] != "snapshot":
            click.echo(events_module.event(session.canvas, event))


@click.command()
@name_argument
@trial_argument(required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the trial ends.")
@click.option("--setup", "is_setup", is_flag=True, help="What the set-up of its code printed instead.")
@click.option("--json", "as_json", is_flag=True, help="Print each piece of output as a JSON object.")
@click.pass_obj
def logs(
    session: Session, name: str, trial: int | None, *, follow: bool, is_setup: bool, as_json: bool
) -> None:
    """Print what a trial printed.

    Without TRIAL, the newest one of this host. A failed trial of another host has the end of its output in
    the database; that of others is on their host alone.

    Into a pipe or a file goes each byte as the trial wrote it; a terminal gets colours, and sees all other
    control characters as text.
    """
    path = experiment_path(name, "logs")
    setup = 1 if is_setup else None
    pieces = session.client.text(path, reader=_stdout(), trial=trial, follow=int(follow), setup=setup)
    if as_json:
        for text in texts(pieces):
            click.echo(json_text({"text": text}))
        return
    output = TrialOutput()
    try:
        for piece in pieces:
            output.write(piece)
    finally:
        output.end()


@click.command()
@click.option("--once", "is_once", is_flag=True, help="Print one frame as plain text.")
@click.pass_context
def top(context: click.Context, *, is_once: bool) -> None:
    """Watch experiments, slots and hosts.

    Goes on until you press q; ? shows all keys. Keys open an experiment or a trial, and pause, resume, cancel
    or drain. A restart of the daemon does not end it. With --once, each line is a sentence, for a screen
    reader or a program.
    """
    from tuned.tunectl.top import opening

    session = context.find_object(Session)
    assert session is not None
    if is_once:
        opening.print_once(session)
    elif opening.has_terminal():
        opening.open_screens(session)
    else:
        raise click.UsageError("expected a terminal; one frame as text: tunectl top --once", context)


def _stdout() -> int | None:
    return None if sys.stdout is None else sys.stdout.fileno()


COMMANDS: tuple[click.Command, ...] = (status, list_experiments, show, trials, best, events, logs, top)
