"""Deletes an experiment for a person, who is asked first.

It must never delete anything that nobody confirmed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tuned.domain.counts import counted
from tuned.protocol.experiments import DeletedView, ExperimentView
from tuned.tunectl.client import experiment_path
from tuned.tunectl.pages import fleet
from tuned.tunectl.text import printable

if TYPE_CHECKING:
    from tuned.protocol.experiments import ExperimentSummary
    from tuned.tunectl.client import Client


def delete(client: Client, name: str, *, is_sure: bool, is_forced: bool) -> bool:
    """Asks, unless the person is sure, and deletes; False if the person wants to keep it.

    Raises NotFound, Conflict if other programs have trials in it and it is not forced.
    """
    if not is_sure:
        summary = client.get(experiment_path(name), ExperimentView)["summary"]
        if not _confirmed(summary):
            click.echo(f"{name} stays as it is")
            return False
    click.echo(fleet.deleted(client.post(experiment_path(name, "delete"), DeletedView, force=int(is_forced))))
    return True


def _confirmed(summary: ExperimentSummary) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked, because standard input is no terminal; expected --yes")
    counts = summary["counts"]
    trials = sum(counts[each] for each in ("complete", "reused", "failed", "skipped", "pruned", "running"))
    name, runs = (
        printable(summary["name"]),
        f", {counts['running']} of them running" * bool(counts["running"]),
    )
    loss = f"{counted(trials, 'trial')}{runs}, with their outputs and checkpoints on every host"
    return click.confirm(f"Delete {name}: {loss}, for good?", err=True)
