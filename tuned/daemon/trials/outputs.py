"""The output of trials, for people: the last lines of those that run here, and why one has none here.

It only reads, in threads, because a disk may be slow.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tuned.disk.log_tail import last_line
from tuned.errors import NotFound
from tuned.storage.queries import experiments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tuned.daemon.trials.running import Running
    from tuned.storage.link import Link


async def last_lines(slots: Iterable[Running | None]) -> dict[int, str]:
    """By the number of the slot."""
    logs = {number: each.evaluation.files.log for number, each in enumerate(slots) if each is not None}
    return await asyncio.to_thread(_read, logs)


def _read(logs: Mapping[int, Path]) -> dict[int, str]:
    return {number: last_line(log) for number, log in logs.items()}


async def not_here(link: Link, study_id: int, name: str, number: int, *, host: str) -> NotFound:
    """The reason why this host has no output of a trial."""
    view = await link.ask(experiments.trial, study_id, number)
    if twin := view["duplicate_of"]:
        return NotFound(
            f"trial {number} of {name} was not evaluated: it is a duplicate of trial {twin['number']}"
        )
    where = view["host"]
    if where and where != host:
        return NotFound(f"cannot show output of trial {number} of {name} here: it ran on host {where}")
    why = view["failure"].get("message") if view["failure"] else None
    return NotFound(f"trial {number} of {name} has no output on this host" + (f": {why}" if why else ""))
