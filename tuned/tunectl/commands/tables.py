"""Commands of tunectl that take trials out of an experiment as a table, and into one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuned.tunectl.session import DONE, FAILED, Session, name_argument

if TYPE_CHECKING:
    from tuned.tunectl.tables import Format

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
    from tuned.tunectl import transfer

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
    from tuned.tunectl import transfer

    if (file is None) == (study is None):
        raise click.UsageError("expected a FILE or --study")
    if storage is not None and study is None:
        raise click.UsageError("--storage says where the study of --study is")
    source = (
        transfer.rows_of_file(file) if file else transfer.rows_of_study(session.client, study or "", storage)
    )
    return FAILED if transfer.import_rows(session.client, name, source) else DONE


COMMANDS: tuple[click.Command, ...] = (export, import_trials)
