"""Plots of an experiment: asks the daemon for its trials, and a program with Optuna for the figures."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import click

from tuned.protocol.plots import PlotRequest
from tuned.tunectl.programs import answer_of
from tuned.tunectl.text import UNBOUNDED
from tuned.tunectl.transfer import pages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tuned.protocol.plots import PlotKind
    from tuned.protocol.tables import ExportView
    from tuned.tunectl.session import Session

Form: TypeAlias = Literal["html", "png"]

#: The curves of more trials than these hide each other.
MOST_CURVES = 200

_PIPE_COLUMNS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The plots that a person asks for: all that fit if no kind is said."""

    kinds: Sequence[PlotKind]

    @property
    def has_curves(self) -> bool:
        return not self.kinds or "intermediate" in self.kinds


def to_file(session: Session, name: str, wanted: Wanted, output: Path) -> None:
    """Writes HTML, or PNG if the file's name ends so, and says where."""
    form: Form = "png" if output.suffix.lower() == ".png" else "html"
    output.write_bytes(_drawn(session, name, wanted, form))
    click.echo(f"{name}: {output}")


def to_terminal(session: Session, name: str, wanted: Wanted) -> None:
    shown = wanted if wanted.kinds else Wanted(kinds=["history"])
    click.echo(_drawn(session, name, shown, "terminal").decode(), nl=False)


def _drawn(session: Session, name: str, wanted: Wanted, form: Literal["html", "png", "terminal"]) -> bytes:
    width, encoding = session.canvas.width, (sys.stdout.encoding or "ascii").lower()
    request = PlotRequest(
        name=name,
        study=_study(session, name, wanted),
        kinds=list(wanted.kinds),
        form=form,
        columns=_PIPE_COLUMNS if width == UNBOUNDED else width,
        is_ascii=not encoding.startswith("utf"),
    )
    return answer_of("tuned.plots.program", request, f"cannot plot {name}")


def _study(session: Session, name: str, wanted: Wanted) -> ExportView:
    """All trials, the newest with their intermediate values if they are wanted."""
    first, *more = pages(session.client, name)
    trials = [each for page in (first, *more) for each in page["trials"]]
    if wanted.has_curves and trials:
        after = max(trials[-1]["number"] - MOST_CURVES, 0)
        found = [each for page in pages(session.client, name, after, reports=1) for each in page["trials"]]
        newest = {each["number"]: each for each in found}
        trials = [newest.get(each["number"], each) for each in trials]
    ranges = [each for page in (first, *more) for each in page["distributions"]]
    return {**first, "distributions": ranges, "trials": trials}
