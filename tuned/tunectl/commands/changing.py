"""Commands of tunectl that change an experiment or end the daemon, and the one that waits for a change.

The daemon makes each change; these only ask, and print its answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from tuned.domain.states import HostCommand
from tuned.errors import Unreachable
from tuned.protocol.experiments import ExperimentSummary, ExperimentView
from tuned.protocol.fleet import HostReply, HostsView
from tuned.protocol.host import StateView, Status
from tuned.tunectl import deletion
from tuned.tunectl.client import experiment_path, host_path
from tuned.tunectl.pages import events as events_module
from tuned.tunectl.pages import experiments
from tuned.tunectl.session import DONE, FAILED, Session, name_argument
from tuned.tunectl.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from tuned.protocol.events import Event
    from tuned.tunectl.client import Client


#: How long a daemon that is executed anew may take to answer.
RESTART_SECONDS = 60.0

LOOK_SECONDS = 0.05

#: How long another host may take to obey; the daemon knows how long its beats are, and gives up before.
COMMAND_SECONDS = 600.0


def _change(session: Session, name: str, verb: str) -> None:
    summary = session.client.post(experiment_path(name, verb), ExperimentSummary)
    click.echo(f"{name} is {summary['state']}" + (f": {summary['note']}" if summary["note"] else ""))


@click.command()
@name_argument
@click.pass_obj
def cancel(session: Session, name: str) -> None:
    """End an experiment; what runs is stopped.

    In the whole fleet.
    """
    _change(session, name, "cancel")


@click.command()
@name_argument
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@click.option("--force", "is_forced", is_flag=True, help="Also if other programs have trials in it.")
@click.pass_obj
def delete(session: Session, name: str, *, is_sure: bool, is_forced: bool) -> int:
    """Remove an experiment with all that is known of it.

    In the whole fleet: what runs is stopped, then its trials, files, outputs and checkpoints are removed.
    Exits 1 if you do not confirm it.
    """
    is_deleted = deletion.delete(session.client, name, is_sure=is_sure, is_forced=is_forced)
    return DONE if is_deleted else FAILED


@click.command()
@name_argument
@click.pass_obj
def pause(session: Session, name: str) -> None:
    """Start no new trials of an experiment.

    In the whole fleet; what runs goes on.
    """
    _change(session, name, "pause")


@click.command()
@name_argument
@click.pass_obj
def resume(session: Session, name: str) -> None:
    """Go on with a paused experiment."""
    _change(session, name, "resume")


def _command(session: Session, host: str, command: HostCommand) -> None:
    """Tells another host what to do, by way of this one and the database."""
    client = session.client.patient(COMMAND_SECONDS)
    reply = client.post(host_path(host, command), HostReply)
    became = "restarts" if command is HostCommand.RESTART else reply["state"]
    click.echo(f"{printable(reply['host'])}: {became}, seen after {reply['seen_seconds']:.1f} s")


_host_option = click.option("--host", metavar="HOST", help="Another host of the fleet, instead of this one.")


@click.command()
@click.option("--wait", "is_waiting", is_flag=True, help="Return when the daemon has ended.")
@_host_option
@click.pass_context
def drain(context: click.Context, *, is_waiting: bool, host: str | None) -> None:
    """Let what runs finish, then end the daemon."""
    session = context.find_object(Session)
    assert session is not None
    if host is not None:
        if is_waiting:
            raise click.UsageError("--wait is for this host; another one: tunectl hosts shows it", context)
        _command(session, host, HostCommand.DRAIN)
        return
    if not is_waiting:
        click.echo(session.client.post("/v1/drain", StateView)["state"])
        return
    with session.client.until_daemon_is_gone():
        following = session.client.events()
        next(following)
        click.echo(session.client.post("/v1/drain", StateView)["state"])
        for event in following:
            if event["event"] in {"host-state", "trial-ended"}:
                click.echo(events_module.event(session.canvas, event))


@click.command()
@_host_option
@click.pass_obj
def abort(session: Session, *, host: str | None) -> None:
    """Kill what runs and end the daemon."""
    if host is not None:
        _command(session, host, HostCommand.ABORT)
        return
    click.echo(session.client.post("/v1/abort", StateView)["state"])


@click.command()
@_host_option
@click.pass_obj
def restart(session: Session, *, host: str | None) -> None:
    """Execute the daemon anew, with new code and settings.

    Trials run on, and the new daemon adopts them. Returns when that answers, or another host has obeyed. If
    the settings are wrong, it says so, and the daemon goes on.
    """
    if host is not None:
        _command(session, host, HostCommand.RESTART)
        return
    began = time.monotonic()
    session.client.post("/v1/restart", StateView)
    deadline = time.monotonic() + RESTART_SECONDS
    while not _is_younger(session.client, began, deadline):
        time.sleep(LOOK_SECONDS)
    click.echo("restarted")


def _is_younger(client: Client, began: float, deadline: float) -> bool:
    """Whether the daemon that answers began after that. Raises Unreachable if none does at the deadline."""
    try:
        return client.get("/v1/status", Status)["uptime_seconds"] < time.monotonic() - began
    except Unreachable:
        if time.monotonic() > deadline:
            raise
        return False


@click.command()
@name_argument
@click.pass_obj
def wait(session: Session, name: str) -> int:
    """Wait until an experiment ends.

    Says why it waits if nothing runs. Exits 0 if it is done and has a feasible value, 1 otherwise: also if it
    is paused, nothing of it runs any more, and so only a person can make it go on.
    """
    summary = _wait_for_end(session.client, name)
    found = summary["best"]
    state = experiments.state_word(summary)
    why = summary["note"] if state == "paused" else summary["ended_by"]
    click.echo(
        f"{name} is {state}"
        + (f", best trial {found['number']}" if found else _without_best(summary))
        + (f": {printable(why)}" if why else "")
    )
    return DONE if summary["state"] == "done" and found else FAILED


def _without_best(summary: ExperimentSummary) -> str:
    return ", no value" if summary["nearest"] is None else ", no trial is feasible"


def _wait_for_end(client: Client, name: str) -> ExperimentSummary:
    following = client.events()
    next(following)
    told = ""
    while True:
        # Events say when to look, the answer says what is so: an event that was lost does no harm.
        summary = client.get(experiment_path(name), ExperimentView)["summary"]
        if summary["state"] in {"done", "cancelled"} or _is_stuck(client, summary):
            return summary
        if (note := summary["note"]) and note != told:
            click.echo(f"{name} waits: {note}", err=True)
        told = note
        may_end_it = {"experiment-state"} | ({"trial-ended"} if _is_paused(summary) else set())
        if not any(_concerns(event, name, may_end_it) for event in following):
            raise Unreachable(f"cannot wait for {name}: the daemon has ended")


def _is_paused(summary: ExperimentSummary) -> bool:
    return experiments.state_word(summary) == "paused"


def _is_stuck(client: Client, summary: ExperimentSummary) -> bool:
    """Nothing runs, and nothing will until a person resumes it."""
    if not _is_paused(summary) or summary["counts"]["running"]:
        return False
    if summary["state"] == "paused":
        return True
    # The others may go on with what is paused on this host alone.
    hosts = client.get("/v1/hosts", HostsView)["hosts"]
    return sum(host["state"] == "running" for host in hosts) <= 1


def _concerns(event: Event, name: str, kinds: Collection[str]) -> bool:
    return event["event"] == "lost" or (event["event"] in kinds and event.get("experiment") == name)


COMMANDS: tuple[click.Command, ...] = (cancel, delete, pause, resume, drain, abort, restart, wait)
