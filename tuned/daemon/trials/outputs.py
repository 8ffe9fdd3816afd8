"""The output of trials, for people: of those that run here the last lines, and of failed ones the end.

It only reads, in threads, because a disk may be slow.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tuned.disk import log_tail
from tuned.disk.log_tail import last_line
from tuned.domain.result import MOST_OUTPUT_BYTES
from tuned.errors import NotFound
from tuned.storage.queries import experiments
from tuned.storage.trials.outputs import kept_output

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from tuned.daemon.trials.running import Running
    from tuned.storage.link import Link


async def last_lines(slots: Iterable[Running | None]) -> dict[int, str]:
    """By the number of the slot."""
    logs = {number: each.evaluation.files.log for number, each in enumerate(slots) if each is not None}
    return await asyncio.to_thread(_read, logs)


def _read(logs: Mapping[int, Path]) -> dict[int, str]:
    return {number: last_line(log) for number, log in logs.items()}


async def end_of(log: Path, written: Callable[[], Awaitable[None]]) -> bytes:
    """That of a trial that has ended: so much of it as the database keeps if it failed."""
    await written()
    return await asyncio.to_thread(log_tail.end_of, log, MOST_OUTPUT_BYTES)


async def kept_elsewhere(
    link: Link, study_id: int, name: str, number: int, *, host: str, tail: int | None
) -> AsyncGenerator[bytes, None]:
    """The end of a failed trial's output as the database has it, for a host that has no file of it.

    Raises NotFound, with the host that may have it, if the database has none.
    """
    kept = await link.ask(kept_output, study_id, number)
    if kept is None:
        raise await _not_here(link, study_id, name, number, host=host)
    output = kept.output if tail is None else kept.output[-tail:]
    note = f"[tuned: the end of its output on host {kept.host}, from the database]\n"
    return _pieces(note.encode() + output)


async def _pieces(output: bytes) -> AsyncGenerator[bytes, None]:
    yield output


async def _not_here(link: Link, study_id: int, name: str, number: int, *, host: str) -> NotFound:
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
