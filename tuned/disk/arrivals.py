"""An experiment file in the spool: its name, its content, and why it or the spool may be refused.

It must never read more than 1 MiB of a file, or follow a link that its owner put there.
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Protocol

from tuned.disk import files
from tuned.disk.origin import LONGEST_MARK, marked, unmarked
from tuned.domain.names import NAME
from tuned.errors import InvalidInput, Problem
from tuned.protocol.limits import MOST_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


SUFFIX = ".toml"


class Change(enum.Flag):
    """The kinds of work that a change in the spool may bring."""

    #: There may be something for ``take``.
    ARRIVALS = enum.auto()
    #: A file went from ``active/``: by ``retire`` or ``reject``, or by hand.
    ACTIVE = enum.auto()


class Folder(StrEnum):
    """The folders of the spool."""

    ACTIVE = "active"
    DONE = "done"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """An experiment file in ``active/``."""

    name: str
    #: Read once; the file in ``active/`` is a copy of it that is ours.
    content: bytes
    #: The host on which it was dropped; empty if that is this one.
    origin: str = ""

    @property
    def file(self) -> str:
        return self.name + SUFFIX

    @property
    def text(self) -> bytes:
        """As it stands in ``active/``."""
        return marked(self.content, self.origin)


class Refused(Exception):
    """The file goes to ``rejected/``; the text says why."""


class Intake(Protocol):
    """The one that knows what an experiment file says."""

    def bring(self, name: str, content: bytes, uid: int) -> None:
        """Puts all else that belongs to an arriving file of this user into ``active/``. Raises Refused."""

    def explain(self, name: str, content: bytes, is_override: bool) -> str:
        """The differences of a file from the one that is active under its name; empty without any.

        If that one is from another host, other local keys are none of it.
        """


def active_path(spool: Path, name: str) -> Path:
    """The place of an experiment's file as long as this host works on it."""
    return spool / Folder.ACTIVE / (name + SUFFIX)


def gone_of(spool: Path, names: Iterable[str]) -> set[str]:
    """Those of the experiments' files that are no longer in ``active/``."""
    return {name for name in names if not os.path.lexists(active_path(spool, name))}


def kept_path(spool: Path, name: str) -> Path | None:
    """The file of an experiment that has ended here, the newest one; None if there is none."""
    numbered = re.compile(rf"{re.escape(name)}(\.[0-9]+)?{re.escape(SUFFIX)}")
    found = [
        path
        for folder in (Folder.DONE, Folder.CANCELLED)
        for path in (spool / folder).glob(f"{name}*{SUFFIX}")
        if numbered.fullmatch(path.name)
    ]
    return max(found, key=lambda path: path.lstat().st_mtime_ns, default=None)


def is_looked_at(file: str) -> bool:
    return file.endswith(SUFFIX) and not file.startswith(".")


def name_of(file: str) -> str:
    name = file.removesuffix(SUFFIX)
    if not NAME.fullmatch(name):
        raise Refused(f"the name {name!a} is not {NAME.pattern}")
    return name


def open_arrived(path: Path, more_bytes: int = 0) -> BinaryIO:
    try:
        return files.open_regular(path, MOST_FILE_BYTES + more_bytes)
    except files.Unfit as error:
        raise Refused(str(error)) from None


def read_taken(path: Path) -> Taken:
    return _read(path, name_of(path.name))


def read_kept(path: Path, name: str) -> Taken | None:
    with contextlib.suppress(Refused, OSError):
        return _read(path, name)
    return None


def _read(path: Path, name: str) -> Taken:
    with open_arrived(path, LONGEST_MARK) as file:
        content, origin = unmarked(file.read())
    if len(content) > MOST_FILE_BYTES:
        raise Refused(f"it has {len(content)} bytes, at most {MOST_FILE_BYTES} are allowed")
    return Taken(name=name, content=content, origin=origin)


def identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def unusable(path: Path, error: OSError) -> InvalidInput:
    """The error of a spool that cannot be read or written."""
    found, file = error.strerror or str(error), str(error.filename or path)
    expected = "a directory that the daemon's user may read and write"
    return InvalidInput(Problem(file=file, key="", found=found, expected=expected))


def unwatchable(path: Path, error: OSError) -> InvalidInput:
    """The error of a spool for which the system has no watch."""
    found = f"no watch to be had: {error.strerror}"
    expected = "room below the limits fs.inotify.max_user_instances and fs.inotify.max_user_watches (sysctl)"
    return InvalidInput(Problem(file=str(path), key="", found=found, expected=expected))
