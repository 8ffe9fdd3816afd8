"""Commands of tunectl that look at the whole fleet, and mend what went wrong in it."""

from __future__ import annotations

import click

from tuned import tunectl_fleet_pages
from tuned.tunectl_session import Session, as_json_option, print_view


@click.command()
@as_json_option
@click.pass_obj
def hosts(session: Session, *, as_json: bool) -> None:
    """List the hosts of the fleet.

    All that ever joined this database, the stopped and the dead ones too.
    """
    view = session.client.get("/v1/hosts")
    print_view(as_json, view, lambda: tunectl_fleet_pages.hosts(session.canvas, view["hosts"]))


COMMANDS: tuple[click.Command, ...] = (hosts,)
