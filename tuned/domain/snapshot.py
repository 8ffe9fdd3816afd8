"""A snapshot of a directory of code: its files by name and content, the digest of all, and how two differ.

It owns what belongs to the digest: names, contents, whether a file is executable, and links. It must never
read a file.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tuned.domain.counts import counted

#: More files than this are no code.
MOST_FILES = 20_000

#: So many digits tell snapshots apart for people.
SHOWN_DIGITS = 12

_MOST_NAMED = 5


class Kind(StrEnum):
    """The kinds of files that a snapshot may have."""

    PLAIN = "file"
    EXECUTABLE = "program"
    LINK = "link"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Entry:
    """One file."""

    #: From the directory on, with slashes.
    path: str
    kind: Kind
    #: The SHA-256 of its content; of a link, the path to which it leads.
    content: str
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of a snapshot."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Manifest:
        """In the one order that the digest knows."""
        return cls(tuple(sorted(entries)))

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries)

    @property
    def digest(self) -> str:
        """Of the names and contents, and not of an archive: the same everywhere, however it is packed."""
        return hashlib.sha256(self._text()).hexdigest()

    def encode(self) -> bytes:
        return zlib.compress(self._text())

    @classmethod
    def decode(cls, encoded: bytes) -> Manifest:
        """Raises ValueError if this is no manifest."""
        try:
            rows = json.loads(zlib.decompress(encoded))
            return cls.of(
                Entry(path=path, kind=Kind(kind), content=content, size_bytes=size)
                for path, kind, content, size in rows
            )
        except (zlib.error, ValueError, TypeError) as error:
            raise ValueError(f"no list of a snapshot's files: {error}") from None

    def _text(self) -> bytes:
        rows = [[each.path, each.kind, each.content, each.size_bytes] for each in self.entries]
        return json.dumps(rows, separators=(",", ":")).encode()

    def __str__(self) -> str:
        return shown(self.digest)


def shown(digest: str) -> str:
    """A digest for people."""
    return digest[:SHOWN_DIGITS]


def changes(mine: Manifest, theirs: Manifest) -> str:
    """The files in which mine differs from theirs, in words; empty if none does."""
    here, there = ({each.path: each for each in manifest.entries} for manifest in (mine, theirs))
    kinds = (
        ("changed", [path for path in here if path in there and here[path] != there[path]]),
        ("new", [path for path in here if path not in there]),
        ("gone", [path for path in there if path not in here]),
    )
    return "; ".join(f"{kind} {_named(paths)}" for kind, paths in kinds if paths)


def _named(paths: list[str]) -> str:
    """The first few by name, the others by number."""
    more = len(paths) - _MOST_NAMED
    named = ", ".join(sorted(paths)[:_MOST_NAMED])
    return f"{named} and {counted(more, 'more file')}" if more > 0 else named
