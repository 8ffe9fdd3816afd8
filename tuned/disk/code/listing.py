"""Which files of a directory are code: those that git knows or would add, or all that are not hidden.

It must never run git in a directory of another user, which git refuses by itself, or follow a link.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuned.errors import TunedError

#: git on a network's disk may be slow; one that hangs ends.
_GIT_SECONDS = 120.0

_CACHE = "__pycache__"


class Unlistable(TunedError):
    """The files of a directory cannot be listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of a directory, from it on, as the system has their names."""

    paths: tuple[str, ...]
    is_git: bool


def listed(directory: Path) -> Listing:
    """Raises Unlistable, and OSError if a directory cannot be read."""
    if not directory.is_dir():
        raise Unlistable("no such directory" if not directory.exists() else "something that is no directory")
    is_git = _is_work_tree(directory)
    found = _known_to_git(directory) if is_git else _walked(directory)
    return Listing(paths=tuple(sorted(found)), is_git=is_git)


def _is_work_tree(directory: Path) -> bool:
    return any((each / ".git").exists() for each in (directory, *directory.resolve().parents))


def _known_to_git(directory: Path) -> Iterator[str]:
    """Tracked files as they are now, and new ones that are not ignored; submodules too."""
    arguments = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    # A program that the repository's own configuration names is not run.
    own = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    try:
        done = subprocess.run(
            ("git", "-C", str(directory), *own, *arguments),  # noqa: S607 (git is the user's own)
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise Unlistable("a git work tree, and no program git to list its files") from None
    except subprocess.TimeoutExpired:
        raise Unlistable(f"a git work tree, of which git lists no files within {_GIT_SECONDS:g} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise Unlistable(f"a git work tree whose files git does not list ({said})")
    # A conflict lists a file once for each side.
    for name in dict.fromkeys(os.fsdecode(done.stdout).split("\0")):
        path = directory / name
        if not name or not os.path.lexists(path):
            continue
        if path.is_dir() and not path.is_symlink():
            inner = name.rstrip("/")
            yield from (f"{inner}/{each}" for each in _known_to_git(path))
        else:
            yield name


def _walked(directory: Path) -> Iterator[str]:
    for entry in _entries(directory):
        if entry.name.startswith(".") or entry.name == _CACHE:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from (f"{entry.name}/{each}" for each in _walked(directory / entry.name))
        else:
            yield entry.name


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as found:
        return list(found)
