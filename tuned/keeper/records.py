"""Endings on the disk, for as long as no daemon has said that they are safe elsewhere.

It owns one directory. A record is durable when ``put`` returns. It must never decide which endings need one.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from tuned.disk import files

if TYPE_CHECKING:
    from pathlib import Path

#: Far more than an ending with all that a trial may note on itself.
MOST_BYTES = 256 * 2**20

_RECORD = re.compile(r"[0-9A-Za-z-]+\.json")


class Records:
    """By the keys of runs. All may wait for the disk."""

    def __init__(self, directory: Path) -> None:
        """The caller holds the keeper's lock: nobody else writes here."""
        self._directory = directory

    def found(self) -> dict[str, bytes]:
        """The content of each record that an earlier keeper left. Raises OSError."""
        files.make_directory(self._directory, 0o700)
        files.remove_temporaries(self._directory)
        found = {}
        for path in self._directory.iterdir():
            if _RECORD.fullmatch(path.name):
                with files.open_regular(path, MOST_BYTES) as file:
                    found[path.stem] = file.read()
        return found

    def put(self, key: str, content: bytes) -> None:
        """Raises OSError when it cannot, such as on a full disk."""
        files.write(self._path(key), content, mode=0o600)

    def remove(self, key: str) -> None:
        """Not made durable: an ending that a power cut brings back is told again, which changes nothing."""
        with contextlib.suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.json"
