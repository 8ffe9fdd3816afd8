"""Directories that a study left below the state directory: its trials' outputs, and its points' checkpoints.

It owns their removal. It must never follow a link, or remove anything whose name is not a study's uid.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from tuned.disk import files

if TYPE_CHECKING:
    from tuned.disk.layout import Layout

_UID = re.compile(r"[0-9a-f]{32}")


def studies(layout: Layout) -> set[str]:
    """The uids of the studies that have left something here."""
    names = {path.name for parent in (layout.trials, layout.points) for path in parent.iterdir()}
    return {name for name in names if _UID.fullmatch(name)}


def announce(layout: Layout, uid: str) -> None:
    """Makes the directory of a study's outputs, by which this host knows later that it took part."""
    files.make_directory(layout.trials / uid, 0o700)


def remove(layout: Layout, uid: str) -> None:
    """Removes all that a study left. Raises OSError if something of it cannot be removed."""
    if not _UID.fullmatch(uid):
        raise ValueError(f"{uid!r} is not the uid of a study")
    for parent in (layout.trials, layout.points):
        path = parent / uid
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
