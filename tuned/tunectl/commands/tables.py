"""Commands of tunectl that take trials out of an experiment, as a table or as plots, and into one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuned.protocol.plots import KINDS, TERMINAL_KINDS
from tuned.tunectl.session import DONE, FAILED, Session, name_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.protocol.plots import PlotKind
    from tuned.tunectl.tables.files import Format

_FORMATS = ("csv", "jsonl", "parquet")


@click.command()
@name_argument
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write there; its ending says the format.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(_FORMATS), help="Default: by the ending of FILE, else csv."
)
@click.pass_obj
def export(session: Session, name: str, *, output: Path | None, kind: Format | None) -> None:
    """Write all trials of an experiment as a table.

    The columns are those of Optuna's trials_dataframe. Parquet needs the package pyarrow.
    """
    from tuned.tunectl.tables import transfer

    transfer.export(session.client, name, output, kind)


@click.command("import")
@name_argument
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--study", metavar="OTHER", help="Instead of FILE: a study of Optuna.")
@click.option("--storage", metavar="URL", help="Where that study is; default: the daemon's database.")
@click.pass_obj
def import_trials(
    session: Session, name: str, *, file: Path | None, study: str | None, storage: str | None
) -> int:
    """Let an experiment know trials that were evaluated elsewhere.

    From a table as export writes it, or from another study. COMPLETE trials become known points: they are
    not evaluated again, the sampler learns from them, and no budget is charged. Exits 1 if some do not fit;
    the others are imported.
    """
    from tuned.tunectl.tables import transfer

    if (file is None) == (study is None):
        raise click.UsageError("expected a FILE or --study")
    if storage is not None and study is None:
        raise click.UsageError("--storage says where the study of --study is")
    source = (
        transfer.rows_of_file(file) if file else transfer.rows_of_study(session.client, study or "", storage)
    )
    return FAILED if transfer.import_rows(session.client, name, source) else DONE


@click.command()
@name_argument
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write there: HTML, or PNG if it ends in .png. Default: NAME.html.",
)  # fmt: skip
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only this plot; may be repeated."
)
@click.option("--terminal", "in_terminal", is_flag=True, help="Draw here, as text.")
@click.pass_obj
def plot(
    session: Session, name: str, *, output: Path | None, kinds: Sequence[PlotKind], in_terminal: bool
) -> None:
    """Draw Optuna's plots of an experiment.

    All that fit are written into one HTML file, which needs no network. A PNG needs Chromium or kaleido. The
    terminal shows the history, or the --kind slice, front or intermediate.
    """
    from tuned.tunectl.tables.plot import to_file, to_terminal

    if not in_terminal:
        to_file(session, name, kinds, output or Path(f"{name}.html"))
        return
    if output is not None:
        raise click.UsageError("expected either --output or --terminal")
    if others := [each for each in kinds if each not in TERMINAL_KINDS]:
        expected = ", ".join(TERMINAL_KINDS)
        raise click.UsageError(f"found --kind {others[0]}, expected one that a terminal shows: {expected}")
    to_terminal(session, name, kinds)


COMMANDS: tuple[click.Command, ...] = (export, import_trials, plot)
