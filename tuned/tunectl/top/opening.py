"""The start of ``tunectl top``: asks the daemon once, then opens the screens or prints one frame."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tuned.tunectl.top.letters import is_ascii, plain
from tuned.tunectl.top.once import frame
from tuned.tunectl.top.overview import OverviewPage

if TYPE_CHECKING:
    from tuned.tunectl.session import Session


def has_terminal() -> bool:
    """Whether a person can press keys and see the screens."""
    return all(each is not None and each.isatty() for each in (sys.__stdin__, sys.__stdout__))


def print_once(session: Session) -> None:
    """One frame, for a screen reader or a pipe."""
    *_, picture = OverviewPage().pictures(session.client)
    lines = frame(picture, datetime.now(UTC))
    has_plain_letters = is_ascii(sys.stdout.encoding, os.environ)
    click.echo("\n".join(map(plain, lines) if has_plain_letters else lines))


def open_screens(session: Session) -> None:
    """Until a person quits. Raises Unreachable if no daemon answers now."""
    first = next(OverviewPage().pictures(session.client))
    # Only now: it takes longer than all the rest, and a daemon that does not answer is told at once.
    from tuned.tunectl.top.app import Look, Top

    look = Look(is_ascii=is_ascii(sys.stdout.encoding, os.environ), has_colours=session.canvas.has_colours)
    Top(session.client, look, first=first).run(mouse=False)
