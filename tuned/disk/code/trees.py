"""The unpacked snapshots of a host: each in a directory of its own, whole and as its digest says, or unused.

A tree is used once its record is there, which comes after all else. It must never unpack into a directory
that a trial may use. Trials read a tree; nobody writes to it any more. The user who runs the trials owns all
of it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import stat
import time
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

_FRESH = ".unpacked"

_PACKED = ".packed"

#: No name of a tree begins with it.
_NEW = ".new-"

#: All else goes, set-group-ID too, which a service may not be allowed to set.
_READ = 0o555


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

    @property
    def fresh(self) -> Path:
        """The record until the tree is prepared."""
        return self.path.with_name(_NEW + self.path.name + _FRESH)

    @property
    def new(self) -> Path:
        """The tree until all of it is unpacked."""
        return self.path.with_name(_NEW + self.path.name)

    @property
    def packed(self) -> Path:
        """The archive until it is unpacked."""
        return self.path.with_name(_NEW + self.path.name + _PACKED)

    @property
    def parts(self) -> tuple[Path, ...]:
        """All of it that may be there. The record is the first: without it, nothing else is used."""
        return self.record, self.path, self.log, self.fresh, self.new, self.packed


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


def receive(tree: Tree, part: int, content: bytes) -> None:
    """Puts a part of the archive behind those before it. The first one begins it anew."""
    with tree.packed.open("r+b" if part else "wb") as opened:
        opened.seek(0, os.SEEK_END)
        opened.write(content)


def unpack(tree: Tree, digest: str, *, limit: int) -> None:
    """Puts the received snapshot in its place, to be prepared.

    Raises archive.Damaged, also for another digest, and OSError.
    """
    tree.record.unlink(missing_ok=True)
    _remove(tree.new)
    try:
        tree.new.mkdir(mode=0o755)
        manifest = _unpacked(tree, digest, limit)
        _remove(tree.path)
        tree.new.rename(tree.path)
    finally:
        _remove(tree.new)
        tree.packed.unlink(missing_ok=True)
    files.write(tree.fresh, manifest.encode(), mode=0o640)


def _unpacked(tree: Tree, digest: str, limit: int) -> Manifest:
    with tree.packed.open("rb") as opened:
        manifest = archive.unpack(opened, tree.new, limit=limit)
    if manifest.digest != digest:
        raise archive.Damaged(f"its digest is {manifest}, and not {shown(digest)}")
    return manifest


def finish(tree: Tree) -> None:
    """It is prepared: nobody writes to it any more, and trials may use it."""
    for path, status in _all(tree.path):
        if not stat.S_ISLNK(status.st_mode):
            path.chmod(status.st_mode & _READ)
    files.move(tree.fresh, tree.record)


def touch(tree: Tree) -> None:
    """It is used now."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(tree.record)


def remove_unused(directory: Path, used: Collection[str], seconds: float) -> list[str]:
    """Removes trees that nobody uses and used for so long, and what a crash left. Returns their names."""
    gone = []
    for name in {_tree_name(name) for name in names(directory)} - {*used}:
        tree = Tree(path=directory / name)
        with contextlib.suppress(OSError):
            if time.time() - _last_used(tree) < seconds:
                continue
            for part in tree.parts:
                _remove(part)
            gone.append(name)
    return gone


def remove_unfinished(directory: Path) -> None:
    """Removes what was about to be unpacked, while nobody unpacks anything."""
    for name in names(directory):
        if name.startswith(_NEW):
            _remove(directory / name)


def _tree_name(part: str) -> str:
    suffixes = (_RECORD, _LOG, _FRESH, _PACKED)
    return functools.reduce(str.removesuffix, suffixes, part.removeprefix(_NEW))


def _last_used(tree: Tree) -> float:
    for path in tree.parts:
        with contextlib.suppress(FileNotFoundError):
            return path.lstat().st_mtime
    return 0.0


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(path.lstat().st_mode):
            path.chmod(0o700)
            removal.remove(path)
        else:
            path.unlink()


def _all(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below, and then the top."""
    for root, directories, plain in os.walk(top, topdown=False):
        for name in (*directories, *plain):
            path = Path(root, name)
            yield path, path.lstat()
    yield top, top.lstat()
