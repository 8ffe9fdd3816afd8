"""Trials as rows of a table, out of the database and into it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tuned.domain.known_trial import KnownTrial, known_trial, row_of_json
from tuned.storage.imports import Target, import_known, target
from tuned.storage.queries.exports import export

if TYPE_CHECKING:
    from tuned.protocol.tables import ExportView, ImportedView, UnfitView
    from tuned.storage.link import Link


async def exported(link: Link, name: str, *, after: int, limit: int, has_reports: bool) -> ExportView:
    """A page of the trials of any study. Raises NotFound, DatabaseAway."""
    return await link.ask(export, name, after=after, limit=limit, has_reports=has_reports)


async def imported(link: Link, study_id: int, name: str, rows: bytes) -> ImportedView:
    """Takes the rows that fit into the study. Raises InvalidInput if they are no lines of JSON objects."""
    wanted = await link.ask(target, study_id, name)
    # Thousands of rows would keep the event loop waiting.
    found, unfit = await asyncio.to_thread(_known, rows, wanted)
    taken = await link.call(import_known, wanted, found)
    return {"imported": taken.imported, "known": taken.known, "unfit": unfit}


def _known(rows: bytes, wanted: Target) -> tuple[list[KnownTrial], list[UnfitView]]:
    found: list[KnownTrial] = []
    unfit: list[UnfitView] = []
    for number, line in enumerate(rows.splitlines()):
        try:
            row = row_of_json(line, number + 1, "request")
            found.append(known_trial(row, wanted.space, wanted.objectives))
        except ValueError as error:
            unfit.append({"row": number, "reason": str(error)})
    return found, unfit
