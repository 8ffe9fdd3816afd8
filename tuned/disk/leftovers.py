"""Directories that a study left below the state directory: its trials' outputs, and its points' checkpoints.

It owns their removal. The directory of its checkpoints, which is named by the study's uid, tells that this
host took part. It must never follow a link, or remove anything whose name is not that of a study.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tuned.disk import files, removal
from tuned.disk.layout import study_folder

if TYPE_CHECKING:
    from tuned.disk.layout import Layout

_UID = re.compile(r"[0-9a-f]{32}")


def studies(layout: Layout) -> set[str]:
    """The uids of the studies that have left something here."""
    return {path.name for path in layout.points.iterdir() if _UID.fullmatch(path.name)}


def announce(layout: Layout, uid: str) -> None:
    """Makes the directory of a study's checkpoints, by which this host knows later that it took part."""
    files.make_directory(layout.points / uid, 0o750)


def remove(layout: Layout, name: str, uid: str) -> None:
    """Removes all that a study left. Raises OSError if something of it cannot be removed."""
    if not _UID.fullmatch(uid):
        raise ValueError(f"{uid!r} is not the uid of a study")
    # The directory by which the others are found goes last.
    for path in (layout.trials / study_folder(name, uid), layout.points / uid):
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            removal.remove(path)
