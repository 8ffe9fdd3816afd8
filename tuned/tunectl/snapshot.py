"""The code of an experiment file before the daemon has it: a snapshot, taken as the user who submits.

It reads the directory of the code and writes an archive; it must never run anything but git.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tuned.disk.code import archive
from tuned.domain.counts import counted
from tuned.domain.resources import rounded_size
from tuned.domain.snapshot import Manifest
from tuned.tunectl.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tuned.experiment.experiment import Experiment

#: Beside the experiment's file, until the daemon takes both.
SUFFIX = ".code"

_KIBIBYTE = 1024


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The archive of a directory, and its files."""

    manifest: Manifest
    archive: Path

    def put(self, spool: Path, name: str) -> None:
        """Puts the archive beside the file of this name, whole or not at all. Raises OSError."""
        scratch = spool / f".{name}{SUFFIX}.{os.getpid()}.{time.monotonic_ns()}.tmp"
        try:
            descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            with os.fdopen(descriptor, "wb") as into, self.archive.open("rb") as opened:
                shutil.copyfileobj(opened, into)
            scratch.replace(spool / f"{name}{SUFFIX}")
        finally:
            scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def taken(parsed: Experiment, file: str) -> Iterator[Snapshot | None]:
    """A snapshot of the code of a file, as long as it is needed; None if it has none. Raises InvalidInput."""
    if parsed.code is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tunectl-code-") as scratch:
        packed = Path(scratch, "archive")
        with packed.open("wb") as into:
            manifest = _take(parsed, file, into)
        yield Snapshot(manifest, packed)


def unpacked(parsed: Experiment, file: str, into: Path) -> Experiment:
    """The experiment with its code in a new directory, as on a host."""
    with taken(parsed, file) as snapshot:
        if snapshot is None:
            return parsed
        into.mkdir()
        with snapshot.archive.open("rb") as opened:
            archive.unpack(opened, into, limit=snapshot.manifest.size_bytes)
        return parsed.with_snapshot(snapshot.manifest.digest).placed(str(into))


def described(parsed: Experiment, file: str) -> Iterator[str]:
    """The code in lines for people; none if it is on another host. Raises InvalidInput."""
    if parsed.code is None or not Path(parsed.code.dir or "").exists():
        return
    with taken(parsed, file) as snapshot:
        assert snapshot is not None
        manifest = snapshot.manifest
        size, files = manifest.size_bytes, counted(len(manifest.entries), "file")
        room = counted(size, "byte") if size < _KIBIBYTE else rounded_size(size)
        yield f"code: {files}, {room} from {parsed.code.dir}, snapshot {manifest}"
        if parsed.code.setup:
            yield f"set-up: {' '.join(parsed.code.setup)}, once on each host"


def _take(parsed: Experiment, file: str, into: IO[bytes]) -> Manifest:
    assert parsed.code is not None
    assert parsed.code.dir is not None
    with Progress(parsed.name) as progress:

        def tell(read: int, whole: int) -> None:
            progress.tell(f"{rounded_size(read)} of {rounded_size(whole)} of code read")

        return archive.take(Path(parsed.code.dir), into, file=file, limit=parsed.code.limit, progress=tell)
