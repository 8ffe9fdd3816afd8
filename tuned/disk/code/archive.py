"""The archive of a snapshot: a compressed tar file, made of a directory, read and unpacked again.

It never believes an archive: the manifest is found by reading all of it. It must never hold more than one
file of it in memory, read what is no regular file, or write outside of the directory that it is given.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from tuned.disk import files
from tuned.disk.code.listing import Unlistable, listed
from tuned.domain.resources import format_size, rounded_size
from tuned.domain.snapshot import MOST_FILES, Entry, Kind, Manifest
from tuned.errors import InvalidInput, Problem, printable

#: Stronger ones take longer, and find little more in source code.
_COMPRESSION = 6

_MODES = {Kind.PLAIN: 0o644, Kind.EXECUTABLE: 0o755, Kind.LINK: 0o777}

#: The key of the experiment file to which problems belong.
_KEY = "code.dir"

_MOST_PROBLEMS = 20

#: Is told how many bytes of how many are read.
Progress = Callable[[int, int], object]


def nobody_told(_read: int, _of: int) -> None:
    """For a snapshot for which nobody waits."""


class Damaged(Exception):
    """The archive is not one of ours, or not whole; the text says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One file of a directory, before it is read."""

    path: str
    kind: Kind
    size_bytes: int = 0
    #: Of a link.
    target: str = ""


class _Problems:
    """Everything for which no snapshot is taken."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: list[Problem] = []

    def add(self, path: str, found: str, expected: str) -> None:
        place = (
            f"{printable(path.encode(errors='surrogateescape').decode(errors='replace'))}: " if path else ""
        )
        self._found.append(Problem(file=self._file, key=_KEY, found=f"{place}{found}", expected=expected))

    def raise_if_any(self) -> None:
        if self._found:
            raise InvalidInput(*self._found[:_MOST_PROBLEMS])


def take(
    directory: Path, into: IO[bytes], *, file: str, limit: int, progress: Progress = nobody_told
) -> Manifest:
    """Writes the archive of a directory. Raises InvalidInput with all that is wrong, for this file."""
    problems = _Problems(file)
    found = _surveyed(directory, limit, problems)
    problems.raise_if_any()
    entries: list[Entry] = []
    whole, done = sum(each.size_bytes for each in found), 0
    with _writing(into) as tar:
        for each in found:
            try:
                content = b"" if each.kind is Kind.LINK else _read(directory / each.path, limit)
            except (OSError, files.Unfit) as error:
                problems.add(each.path, _why(error), "a file that can be read")
                continue
            entries.append(_add(tar, each, content))
            done += len(content)
            progress(done, whole)
    manifest = Manifest.of(entries)
    if manifest.size_bytes > limit:
        problems.add("", f"{rounded_size(manifest.size_bytes)} and growing", _at_most(limit))
    problems.raise_if_any()
    return manifest


def manifest_of(archive: BinaryIO, *, limit: int) -> Manifest:
    """Reads all of an archive. Raises Damaged, also if it would be larger than the limit."""
    entries: list[Entry] = []
    size = 0
    for member, content in _members(archive, limit):
        entries.append(_entry(member, content))
        size += len(content)
        if size > limit or len(entries) > MOST_FILES:
            raise Damaged(f"it has more than {rounded_size(limit)} or {MOST_FILES} files")
    return Manifest.of(entries)


def unpack(archive: BinaryIO, into: Path, *, limit: int) -> Manifest:
    """Unpacks an archive into an empty directory of ours. Raises Damaged, OSError."""
    entries: list[Entry] = []
    for member, content in _members(archive, limit):
        entry = _entry(member, content)
        entries.append(entry)
        path = into / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind is Kind.LINK:
            path.symlink_to(entry.content)
        else:
            _create(path, content, _MODES[entry.kind])
    return Manifest.of(entries)


def entry_at(directory: Path, path: str) -> Entry:
    """A file of an unpacked snapshot as it is now. Raises OSError, files.Unfit."""
    place = directory / path
    status = place.lstat()
    if stat.S_ISLNK(status.st_mode):
        return Entry(path=path, kind=Kind.LINK, content=str(place.readlink()))
    with files.open_regular(place, status.st_size) as opened:
        digest = hashlib.sha256(opened.read()).hexdigest()
    kind = Kind.EXECUTABLE if status.st_mode & stat.S_IXUSR else Kind.PLAIN
    return Entry(path=path, kind=kind, content=digest, size_bytes=status.st_size)


def _surveyed(directory: Path, limit: int, problems: _Problems) -> list[_File]:
    try:
        paths = listed(directory).paths
    except Unlistable as error:
        problems.add("", f"{directory}: {error}", "a directory that can be read")
        return []
    except OSError as error:
        problems.add("", f"{error.filename}: {_why(error)}", "a directory that can be read")
        return []
    found = [each for path in paths if (each := _looked_at(directory, path, problems)) is not None]
    size = sum(each.size_bytes for each in found)
    if not found:
        problems.add("", f"no files in {directory}", "a directory with code")
    if len(found) > MOST_FILES:
        problems.add("", f"{len(found)} files", f"at most {MOST_FILES}")
    if size > limit:
        largest = max(found, key=lambda each: each.size_bytes)
        told = f"{rounded_size(size)}, of which {largest.path} has {rounded_size(largest.size_bytes)}"
        problems.add("", told, _at_most(limit))
    return found


def _at_most(limit: int) -> str:
    return f"at most {format_size(limit)} (code.limit; git leaves out what .gitignore names)"


def _looked_at(directory: Path, path: str, problems: _Problems) -> _File | None:
    try:
        path.encode()
    except UnicodeEncodeError:
        problems.add(path, "a name that is not UTF-8", "names in UTF-8")
        return None
    try:
        status = (directory / path).lstat()
    except OSError as error:
        problems.add(path, _why(error), "a file that can be read")
        return None
    if stat.S_ISLNK(status.st_mode):
        return _link(directory, path, problems)
    if not stat.S_ISREG(status.st_mode):
        problems.add(path, files.kind_of(status), "files, directories and links to them")
        return None
    if not os.access(directory / path, os.R_OK):
        problems.add(path, "a file that may not be read", "a file that can be read")
        return None
    kind = Kind.EXECUTABLE if status.st_mode & stat.S_IXUSR else Kind.PLAIN
    return _File(path=path, kind=kind, size_bytes=status.st_size)


def _link(directory: Path, path: str, problems: _Problems) -> _File | None:
    place = directory / path
    target = str(place.readlink())
    root = directory.resolve()
    try:
        target.encode()
        is_inside = _stays(target, path.count("/")) and place.resolve().is_relative_to(root)
    except (UnicodeEncodeError, RuntimeError, OSError):
        is_inside = False
    if not is_inside:
        problems.add(path, f"a link to {target!a}, which leaves it", "links within it, not absolute ones")
        return None
    return _File(path=path, kind=Kind.LINK, target=target)


def _read(path: Path, limit: int) -> bytes:
    with files.open_regular(path, limit) as opened:
        return opened.read(limit + 1)


@contextlib.contextmanager
def _writing(into: IO[bytes]) -> Iterator[tarfile.TarFile]:
    # Without the time, equal directories have equal archives.
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=into, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        yield tar


def _add(tar: tarfile.TarFile, file: _File, content: bytes) -> Entry:
    member = tarfile.TarInfo(file.path)
    member.mode = _MODES[file.kind]
    if file.kind is Kind.LINK:
        member.type, member.linkname = tarfile.SYMTYPE, file.target
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    return _entry(member, content)


def _entry(member: tarfile.TarInfo, content: bytes) -> Entry:
    if member.issym():
        return Entry(path=member.name, kind=Kind.LINK, content=member.linkname)
    kind = Kind.EXECUTABLE if member.mode & stat.S_IXUSR else Kind.PLAIN
    digest = hashlib.sha256(content).hexdigest()
    return Entry(path=member.name, kind=kind, content=digest, size_bytes=len(content))


def _members(archive: BinaryIO, limit: int) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Each file of an archive, once, if the archive is one that we could have made."""
    seen: set[str] = set()
    links: set[str] = set()
    try:
        with tarfile.open(fileobj=archive, mode="r|gz") as tar:
            for member in tar:
                _require_ours(member, seen, links, limit)
                opened = None if member.issym() else tar.extractfile(member)
                yield member, b"" if opened is None else opened.read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError) as error:
        raise Damaged(f"it cannot be read: {error}") from None


def _require_ours(member: tarfile.TarInfo, seen: set[str], links: set[str], limit: int) -> None:
    path = PurePosixPath(member.name)
    parents = {str(parent) for parent in path.parents}
    if not (member.isreg() or member.issym()) or member.size > limit:
        raise Damaged(f"{member.name!a} is no file that a snapshot may have")
    if path.is_absolute() or ".." in path.parts or str(path) != member.name or not path.name:
        raise Damaged(f"{member.name!a} leaves its directory")
    # A file in the place of a directory, or below a link, would lie elsewhere.
    if member.name in seen or parents & (seen | links):
        raise Damaged(f"{member.name!a} has another file in its place")
    seen.add(member.name)
    if member.issym():
        links.add(member.name)
        # Judged by names alone, because nothing lies anywhere yet.
        if not _stays(member.linkname, len(path.parts) - 1):
            raise Damaged(f"{member.name!a} leads out of its directory")


def _stays(target: str, depth: int) -> bool:
    """Whether a relative path never goes above the directory, from so deep below it."""
    if target.startswith("/"):
        return False
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return False
    return True


def _create(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as opened:
        opened.write(content)
        os.fchmod(opened.fileno(), mode)


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)
