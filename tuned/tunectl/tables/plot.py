"""Plots of an experiment: asks the daemon for its trials, and a program with Optuna for the figures."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tuned.protocol.plots import PlotRequest
from tuned.tunectl.progress import waiting
from tuned.tunectl.tables.programs import answer_of
from tuned.tunectl.tables.transfer import pages
from tuned.tunectl.text import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tuned.protocol.plots import PlotForm, PlotKind
    from tuned.protocol.tables import ExportView
    from tuned.tunectl.client import Client
    from tuned.tunectl.session import Session

#: The curves of more trials than these hide each other.
MOST_CURVES = 200

_PIPE_COLUMNS = 80


def to_file(session: Session, name: str, kinds: Sequence[PlotKind], output: Path) -> None:
    """Writes HTML, or PNG if the file's name ends so, and says where. Without kinds: all plots that fit."""
    form: PlotForm = "png" if output.suffix.lower() == ".png" else "html"
    output.write_bytes(_drawn(session, name, kinds, form))
    click.echo(f"{name}: {output}")


def to_terminal(session: Session, name: str, kinds: Sequence[PlotKind]) -> None:
    """Draws the history if no kind is said."""
    click.echo(_drawn(session, name, kinds or ["history"], "terminal").decode(), nl=False)


def _drawn(session: Session, name: str, kinds: Sequence[PlotKind], form: PlotForm) -> bytes:
    width, encoding = session.canvas.width, (sys.stdout.encoding or "ascii").lower()
    request = PlotRequest(
        name=name,
        study=_study(session.client, name, has_curves=not kinds or "intermediate" in kinds),
        kinds=list(kinds),
        form=form,
        columns=_PIPE_COLUMNS if width == UNBOUNDED else width,
        is_ascii=not encoding.startswith("utf"),
    )
    with waiting(name, "its plots are drawn"):
        return answer_of("tuned.plots.program", request, f"cannot plot {name}")


def _study(client: Client, name: str, *, has_curves: bool) -> ExportView:
    """All trials, the newest with their intermediate values if they are wanted."""
    first, *more = pages(client, name)
    trials = [each for page in (first, *more) for each in page["trials"]]
    if has_curves and trials:
        last = trials[-1]["number"] - MOST_CURVES
        curved = pages(client, name, None if last < 0 else last, has_reports=True)
        newest = {each["number"]: each for page in curved for each in page["trials"]}
        trials = [newest.get(each["number"], each) for each in trials]
    ranges = [each for page in (first, *more) for each in page["distributions"]]
    return {**first, "distributions": ranges, "trials": trials}
