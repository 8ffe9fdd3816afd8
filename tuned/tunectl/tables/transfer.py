"""Carries trials between files, other studies and the daemon."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from tuned.domain.counts import counted
from tuned.errors import Unreachable
from tuned.protocol.tables import ExportView, ImportedView
from tuned.tunectl.client import experiment_path
from tuned.tunectl.progress import Progress, waiting
from tuned.tunectl.tables import files
from tuned.tunectl.tables.programs import answer_of
from tuned.tunectl.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tuned.tunectl.client import Client
    from tuned.tunectl.tables.files import Format, Labelled, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The rows of a file or a study."""

    name: str
    rows: Sequence[Labelled]


def export(client: Client, name: str, output: Path | None, kind: Format | None) -> None:
    """Writes the experiment's trials into a file, or to standard output."""
    content = files.written(
        _rows(client, name), kind or ("csv" if output is None else files.format_of(output))
    )
    if output is not None:
        output.write_bytes(content)
    elif sys.stdout.isatty():
        click.echo(content.decode(errors="replace"), nl=False)
    else:
        # Each byte, also of names that no terminal shows.
        click.echo(content, nl=False)


def _rows(client: Client, name: str) -> list[Row]:
    return [
        files.row_of(trial, has_one_objective=len(page["directions"]) == 1)
        for page in pages(client, name)
        for trial in page["trials"]
    ]


def pages(
    client: Client, name: str, after: int | None = None, *, has_reports: bool = False
) -> Iterator[ExportView]:
    """All trials above this number, oldest first; with intermediate values if ``has_reports``."""
    reports, read = 1 if has_reports else None, 0
    with Progress(name) as progress:
        while True:
            page = client.get(experiment_path(name, "export"), ExportView, after=after, reports=reports)
            read += len(page["trials"])
            progress.tell(f"{counted(read, 'trial')} read")
            yield page
            following = page["after"]
            if following is None:
                return
            if after is not None and following <= after:
                raise Unreachable(f"cannot export trials: the daemon gave page {following} twice")
            after = following


def rows_of_file(path: Path) -> Source:
    return Source(name=str(path), rows=files.read(path))


def rows_of_study(client: Client, study: str, storage: str | None) -> Source:
    """The rows of a study in the daemon's database, or in another one."""
    if storage is not None:
        found = _foreign(study, storage)
    else:
        found = [files.as_json(row) for row in _rows(client, study)]
    return Source(name=study, rows=[files.Labelled(f"trial {row['number']}", row) for row in found])


def _foreign(study: str, storage: str) -> list[Row]:
    request = {"study": study, "storage": storage}
    with waiting(study, "its trials are read"):
        answer = answer_of("tuned.foreign_study", request, f"cannot read study {study}")
    return [json.loads(line) for line in answer.decode().splitlines()]


def import_rows(client: Client, name: str, source: Source) -> int:
    """Sends the COMPLETE rows, says what became of them, and returns how many do not fit."""
    complete = [each for each in source.rows if each.row.get("state") in {None, "", "COMPLETE"}]
    body = b"".join(json.dumps(each.row).encode() + b"\n" for each in complete)
    with waiting(name, f"the daemon takes in {counted(len(complete), 'row')} of {source.name}"):
        answer = client.post(experiment_path(name, "import"), ImportedView, body=body)
    for each in answer["unfit"]:
        place = complete[each["row"]].place if each["row"] < len(complete) else f"row {each['row']}"
        click.echo(
            f"tunectl: {printable(source.name)}: {place} does not fit: {printable(each['reason'])}", err=True
        )
    others = len(source.rows) - len(complete)
    said = [f"{answer['imported']} imported", f"{answer['known']} known already"]
    if unfit := len(answer["unfit"]):
        said.append(f"{unfit} does not fit" if unfit == 1 else f"{unfit} do not fit")
    said += [f"{others} without a value left out"] if others else []
    click.echo(f"{name}: {', '.join(said)}")
    return len(answer["unfit"])
