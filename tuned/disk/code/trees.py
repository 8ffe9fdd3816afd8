"""The unpacked snapshots of a host: each in a directory of its own, whole and as its digest says, or unused.

A tree is used once its record is there, which is written after all else. It must never unpack into a
directory that a trial may use. Trials read a tree; nobody writes to it any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuned.disk import files, removal
from tuned.disk.code import archive
from tuned.disk.holdings import names
from tuned.domain.snapshot import Manifest, shown

#: Half of a digest is enough for a name.
_NAME_DIGITS = 32

_RECORD = ".files"

_LOG = ".log"

_NEW = ".new-"

#: Bits by which somebody may write.
_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One unpacked snapshot, prepared by one command."""

    path: Path

    @property
    def log(self) -> Path:
        """The output of the command that prepared it."""
        return self.path.with_name(self.path.name + _LOG)

    @property
    def record(self) -> Path:
        """Its files as they were unpacked. It is there once trials may use the tree."""
        return self.path.with_name(self.path.name + _RECORD)


def tree_of(directory: Path, digest: str, setup: Sequence[str] | None) -> Tree:
    """The place of a snapshot below the directory of all. Another command makes another tree of it."""
    name = digest[:_NAME_DIGITS]
    if setup is not None:
        name += "-" + hashlib.sha256(json.dumps(list(setup)).encode()).hexdigest()[:8]
    return Tree(path=directory / name)


def is_whole(tree: Tree, digest: str) -> bool:
    """Whether trials may use it: it was prepared, and its own files are as they were. Reads all of them."""
    try:
        manifest = Manifest.decode(tree.record.read_bytes())
        if manifest.digest != digest:
            return False
        return all(archive.entry_at(tree.path, entry.path) == entry for entry in manifest.entries)
    except (OSError, ValueError, files.Unfit):
        return False


def unpack(tree: Tree, packed: Path, digest: str, *, limit: int) -> Manifest:
    """Puts a snapshot in its place, to be prepared.

    Raises archive.Damaged, also for another digest, and OSError.
    """
    tree.record.unlink(missing_ok=True)
    new = tree.path.with_name(f"{_NEW}{uuid.uuid4().hex}")
    new.mkdir(mode=0o755)
    try:
        manifest = _unpacked(new, packed, digest, limit)
        _allow_group(new)
        _remove(tree.path)
        new.rename(tree.path)
    except BaseException:
        _remove(new)
        raise
    return manifest


def _unpacked(new: Path, packed: Path, digest: str, limit: int) -> Manifest:
    with packed.open("rb") as opened:
        manifest = archive.unpack(opened, new, limit=limit)
    if manifest.digest != digest:
        raise archive.Damaged(f"its digest is {manifest}, and not {shown(digest)}")
    return manifest


def finish(tree: Tree, manifest: Manifest) -> None:
    """It is prepared: nobody writes to it any more, and trials may use it."""
    for path, status in _all(tree.path):
        if not stat.S_ISLNK(status.st_mode):
            # Files of another user are read-only already, or their own.
            with contextlib.suppress(PermissionError):
                path.chmod(stat.S_IMODE(status.st_mode) & ~_WRITE)
    files.write(tree.record, manifest.encode(), mode=0o640)


def touch(tree: Tree) -> None:
    """It is used now."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(tree.record)


def remove_unused(directory: Path, used: Collection[Tree], seconds: float) -> list[str]:
    """Removes trees that nobody uses and used for so long, and what a crash left. Returns their names."""
    kept = {tree.path.name for tree in used}
    found = {name.removesuffix(_RECORD).removesuffix(_LOG) for name in names(directory)}
    gone = []
    for name in found - kept:
        tree = Tree(path=directory / name)
        with contextlib.suppress(OSError):
            if time.time() - _last_used(tree) < seconds:
                continue
            # First: a tree without its record is never used, however much is left of it.
            tree.record.unlink(missing_ok=True)
            tree.log.unlink(missing_ok=True)
            _remove(tree.path)
            gone.append(name)
    return gone


def remove_unfinished(directory: Path) -> None:
    """Removes what an earlier daemon was about to unpack."""
    for name in names(directory):
        if name.startswith(_NEW):
            _remove(directory / name)


def _last_used(tree: Tree) -> float:
    for path in (tree.record, tree.path, tree.log):
        with contextlib.suppress(FileNotFoundError):
            return path.lstat().st_mtime
    return 0.0


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.chmod(0o700)
        removal.remove(path)


def _allow_group(top: Path) -> None:
    """The one that prepares it may be another user of our group."""
    for path, status in _all(top):
        if not stat.S_ISLNK(status.st_mode):
            extra = stat.S_IWGRP | (stat.S_IRWXG | stat.S_IXOTH | stat.S_IROTH) * stat.S_ISDIR(status.st_mode)
            path.chmod(stat.S_IMODE(status.st_mode) | extra)


def _all(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below, and then the top."""
    for root, directories, plain in os.walk(top, topdown=False):
        for name in (*directories, *plain):
            path = Path(root, name)
            yield path, path.lstat()
    yield top, top.lstat()
