"""Commands of tunectl that look at the whole fleet, and mend it.

The doctor is imported inside its command: it reads the settings, and so needs the parser of files.
"""

from __future__ import annotations

import click

from tuned.domain.ending import Cause
from tuned.protocol.experiments import RetryView
from tuned.protocol.fleet import HostsView
from tuned.protocol.trials import StoryView
from tuned.tunectl.client import experiment_path, host_path
from tuned.tunectl.pages import fleet, trials
from tuned.tunectl.session import Session, as_json_option, name_argument, print_view, trial_argument


@click.command()
@click.option("--forget", "forgotten", metavar="NAME", help="Remove a dead or stopped host from the list.")
@as_json_option
@click.pass_obj
def hosts(session: Session, *, forgotten: str | None, as_json: bool) -> None:
    """List the hosts of the fleet.

    All that ever joined this database, the stopped and the dead ones too, until
    they are forgotten. Values that a forgotten host found stay.
    """
    if forgotten is None:
        view = session.client.get("/v1/hosts", HostsView)
    else:
        view = session.client.post(host_path(forgotten, "forget"), HostsView)
    print_view(as_json, view, lambda: fleet.hosts(session.canvas, view["hosts"]))


@click.command()
@name_argument
@trial_argument()
@as_json_option
@click.pass_obj
def explain(session: Session, name: str, trial: int, *, as_json: bool) -> None:
    """Tell the story of one trial.

    Where its point came from, who evaluated it or why nobody did, and what became of the point.
    """
    view = session.client.get(experiment_path(name, "trials", str(trial)), StoryView)
    print_view(as_json, view, lambda: trials.story(session.canvas, name, view))


@click.command()
@name_argument
@click.option("--failed", "is_for_failed", is_flag=True, help="The failed points.")
@click.option(
    "--cause",
    type=click.Choice([each.value for each in Cause]),
    help="Only those that failed for this cause.",
)
@click.pass_obj
def retry(session: Session, name: str, *, is_for_failed: bool, cause: str | None) -> None:
    """Evaluate failed points of an experiment again.

    In the whole fleet; they go ahead of new points. The budget is charged for each evaluation.
    """
    if not is_for_failed:
        raise click.UsageError("say what is to be retried: --failed")
    view = session.client.post(experiment_path(name, "retry"), RetryView, cause=cause)
    click.echo("\n".join(fleet.retried(view)))


@click.command()
@click.option("--fix", "is_fixing", is_flag=True, help="Mend what can be mended safely.")
@as_json_option
@click.pass_obj
def doctor(session: Session, *, is_fixing: bool, as_json: bool) -> int:
    """Say what is wrong with this host and the fleet.

    Each finding is shown with its reason and its remedy. Exits 1 if one of them
    is a fault; a note (!) is worth to know and may stay as it is.
    """
    from tuned.tunectl import doctor

    view = doctor.examine(session.client, is_fixing=is_fixing)
    print_view(as_json, view, lambda: fleet.diagnosis(session.canvas, view))
    return 1 if any(finding["kind"] == "fault" for finding in view["findings"]) else 0


COMMANDS: tuple[click.Command, ...] = (hosts, explain, retry, doctor)
