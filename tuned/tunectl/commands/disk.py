"""The command of tunectl that looks after the disk of this host.

The daemon removes everything; this only asks, and prints its answer.
"""

from __future__ import annotations

import click

from tuned.protocol.disk import CleanView
from tuned.tunectl.client import experiment_path
from tuned.tunectl.pages import disk
from tuned.tunectl.progress import waiting
from tuned.tunectl.session import (
    DONE,
    FAILED,
    Session,
    as_json_option,
    optional_name_argument,
    print_view,
)

#: A slow disk takes minutes to remove a million files.
_LONGEST_SECONDS = 6 * 3600.0


@click.command()
@optional_name_argument
@click.option("--dry-run", "is_dry", is_flag=True, help="Remove nothing: say what would go.")
@as_json_option
@click.pass_obj
def clean(session: Session, name: str | None, *, is_dry: bool, as_json: bool) -> int:
    """Remove output and checkpoints of experiments that have ended.

    On this host alone: all that the limits of [keep] in tuned.toml do not let stay. With NAME, all
    that this experiment left here, whatever the limits are. Nothing of an experiment that has not ended
    is removed, and nothing from the database. Exits 1 if something cannot be removed.
    """
    path = "/v1/clean" if name is None else experiment_path(name, "clean")
    client = session.client.patient(_LONGEST_SECONDS)
    doing = "looks for output and checkpoints" if is_dry else "removes output and checkpoints"
    with waiting(name or "all experiments", f"the daemon {doing}"):
        view = client.post(path, CleanView, dry_run=int(is_dry))
    print_view(as_json, view, lambda: disk.cleaned(session.canvas, view, name, is_dry=is_dry))
    return FAILED if view["problems"] else DONE


COMMANDS: tuple[click.Command, ...] = (clean,)
