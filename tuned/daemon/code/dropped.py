"""The code of experiments that are dropped here: a snapshot of each, until the database has it.

A snapshot comes with the file if ``tunectl submit`` took it, as the user who submits. The daemon takes one
only for a file of its own user: it must never read a directory for another user, nor run git there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from tuned.disk import files
from tuned.disk.arrivals import Folder, Refused
from tuned.disk.code import archive
from tuned.disk.code.archive import Damaged
from tuned.domain.snapshot import Manifest, shown
from tuned.errors import Conflict, InvalidInput
from tuned.experiment.experiment import Experiment, parse
from tuned.experiment.likeness import explain
from tuned.experiment.tables.code import LARGEST_LIMIT
from tuned.storage import snapshots

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()

#: Beside the file of an experiment, in the spool and in ``active/``.
SUFFIX = ".code"


def code_path(directory: Path, name: str) -> Path:
    return directory / f"{name}{SUFFIX}"


class CodeOfFiles:
    """The snapshots in ``active/``. Belongs to the event loop's thread, but for what ``Reception`` calls."""

    def __init__(self, link: Link, spool: Path) -> None:
        self._link = link
        self._spool = spool

    async def given(self, experiment: Experiment, file: str) -> Experiment:
        """With the snapshot that came with its file, if one did, once the database has that.

        Raises DatabaseAway, Conflict if it is damaged.
        """
        if experiment.code is None or (manifest := await asyncio.to_thread(self.manifest, file)) is None:
            return experiment
        if await self._link.call(snapshots.keep, self._held(file), manifest):
            _log.info(
                "code kept",
                experiment=experiment.name,
                digest=manifest.digest,
                size_bytes=manifest.size_bytes,
            )
        return experiment.with_snapshot(manifest.digest)

    async def replacing(self, experiment: Experiment, content: bytes, uid: int) -> Experiment:
        """With the snapshot that this user gave for a replacement. Raises Conflict if there is none."""
        if experiment.code is None:
            raise Conflict("cannot replace the code: the file has no table [code]")
        name = experiment.name
        try:
            await asyncio.to_thread(self.bring, name, content, uid)
        except Refused as refusal:
            raise Conflict(f"cannot replace the code: {refusal}") from None
        try:
            return await self.given(experiment, name)
        finally:
            await asyncio.to_thread(self.drop, name)

    def bring(self, name: str, content: bytes, uid: int) -> None:
        """Puts the snapshot of an arriving file of this user into ``active/``. Raises Refused."""
        held, arrived = self._held(name), code_path(self._spool, name)
        try:
            code = parse(content, f"{name}.toml").code
        except InvalidInput:
            code = None  # It is rejected for that.
        if code is None:
            self.drop(name)
            return
        scratch = files.temporary(held)
        try:
            if os.path.lexists(arrived):
                _copy(arrived, scratch, uid, code.limit)
            elif uid == os.geteuid() and code.dir is not None:
                with scratch.open("wb") as into:
                    archive.take(Path(code.dir), into, file=f"{name}.toml", limit=code.limit)
            else:
                raise Refused(
                    "code.dir: found no snapshot beside the file, expected one: the daemon reads no "
                    "directory for another user, so submit the file with tunectl submit, which takes it"
                )
            scratch.replace(held)
        except InvalidInput as error:
            raise Refused(str(error)) from None
        finally:
            scratch.unlink(missing_ok=True)
            arrived.unlink(missing_ok=True)

    def drop(self, name: str) -> None:
        """Removes a snapshot that nobody needs."""
        for path in (self._held(name), code_path(self._spool, name)):
            path.unlink(missing_ok=True)

    def manifest(self, name: str) -> Manifest | None:
        """The files of the snapshot in ``active/``; None if there is none.

        Raises Conflict if it is damaged.
        """
        try:
            with self._held(name).open("rb") as opened:
                return archive.manifest_of(opened, limit=LARGEST_LIMIT)
        except FileNotFoundError:
            return None
        except Damaged as error:
            raise Conflict(f"the snapshot of the code of {name} is damaged: {error}") from None

    def explain(
        self, active: Mapping[str, Experiment], name: str, content: bytes, is_override: bool = False
    ) -> str:
        """As likeness.explain, for a file whose snapshot is in ``active/``; that goes again."""
        try:
            text = explain(active, name, content, is_override)
            manifest = self.manifest(name)
        except Conflict as error:
            text, manifest = str(error), None
        there = active.get(name)
        if there is None:
            return text
        self.drop(name)
        if not text and manifest is not None and manifest.digest != there.snapshot:
            text = (
                f"its code is snapshot {manifest}, and the one that runs is {shown(there.snapshot)}; for the "
                "trials that start from now on: tunectl submit --replace --code FILE"
            )
        return text

    def _held(self, name: str) -> Path:
        return code_path(self._spool / Folder.ACTIVE, name)


@dataclass(frozen=True, slots=True)
class Reception:
    """As ``Intake``: what arriving files say, beside the experiments that are active. For a thread."""

    code: CodeOfFiles
    active: Mapping[str, Experiment]

    def bring(self, name: str, content: bytes, uid: int) -> None:
        self.code.bring(name, content, uid)

    def explain(self, name: str, content: bytes, is_override: bool) -> str:
        return self.code.explain(self.active, name, content, is_override)


def _copy(arrived: Path, into: Path, uid: int, limit: int) -> None:
    """Copies a snapshot that came with a file, if it is one and its user's. Raises Refused."""
    try:
        with files.open_regular(arrived, 2 * LARGEST_LIMIT) as opened:
            if os.fstat(opened.fileno()).st_uid not in (uid, 0):
                raise Refused("code.dir: found a snapshot of another user beside the file, expected its own")
            archive.manifest_of(opened, limit=limit)
            opened.seek(0)
            with into.open("wb") as copied:
                while piece := opened.read(snapshots.PART_BYTES):
                    copied.write(piece)
    except (files.Unfit, Damaged) as error:
        raise Refused(f"code.dir: found a snapshot that is none ({error}), expected one") from None
