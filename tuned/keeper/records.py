"""Endings on the disk, for as long as no daemon has said that they are safe elsewhere.

It owns one directory, and the thread that works in it. It must never decide which endings need a record.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from tuned.disk import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Far more than an ending with all that a trial may note on itself.
MOST_BYTES = 256 * 2**20

_RECORD = re.compile(r"[0-9A-Za-z-]+\.json")

P = ParamSpec("P")
R = TypeVar("R")


class Records:
    """By the keys of runs. All is done in the order in which it was asked for, whether one waits or not."""

    def __init__(self, directory: Path) -> None:
        """The caller holds the keeper's lock: nobody else writes here."""
        self._directory = directory
        # One of its own: a disk that hangs holds up nothing else.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records")

    def found(self) -> asyncio.Future[dict[str, bytes]]:
        """The content of each record that an earlier keeper left. Raises OSError."""
        return self._do(self._found)

    def put(self, key: str, content: bytes, *, is_synced: bool) -> asyncio.Future[None]:
        """It outlives this process, and a power cut if it is synced. Raises OSError, as on a full disk."""
        return self._do(files.write, self.path(key), content, mode=0o600, is_synced=is_synced)

    def remove(self, key: str) -> asyncio.Future[None]:
        """Not made durable: an ending that a power cut brings back is told again, which changes nothing."""
        return self._do(self._remove, self.path(key))

    def settled(self) -> asyncio.Future[None]:
        """All that was asked for before is done."""
        return self._do(_nothing)

    def path(self, key: str) -> Path:
        return self._directory / f"{key}.json"

    def _do(self, work: Callable[P, R], /, *arguments: P.args, **named: P.kwargs) -> asyncio.Future[R]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._thread, functools.partial(work, *arguments, **named))

    def _found(self) -> dict[str, bytes]:
        files.make_directory(self._directory, 0o700)
        files.remove_temporaries(self._directory)
        found = {}
        for path in self._directory.iterdir():
            if _RECORD.fullmatch(path.name):
                with files.open_regular(path, MOST_BYTES) as file:
                    found[path.stem] = file.read()
        return found

    @staticmethod
    def _remove(path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _nothing() -> None:
    pass
