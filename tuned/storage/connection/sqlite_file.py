"""The file of an embedded database: whether its path still leads to the file that this process opened.

SQLite goes on with a file whose name was removed or given to another file, and all that it writes then is
lost. This room compares device and inode. It must never create a file, or run a statement.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, event

from tuned.errors import DatabaseAway

_GONE = "put it back, and the daemon goes on by itself; or restart the daemon, which then begins an empty one"

_REPLACED = (
    "restart the daemon to go on with the file that is there now; or put the old one back, and the daemon "
    "goes on by itself"
)


class DatabaseFile:
    """The file that the first connection of an engine opened. Threads may use it at once."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path
        #: Device and inode; None before the first connection.
        self._opened: tuple[int, int] | None = None
        self._is_missed = False
        event.listen(engine, "do_connect", self._open_existing)
        event.listen(engine, "connect", self._note)

    def check(self) -> None:
        """Raises DatabaseAway if the path leads to no file, or to another one. It costs one stat."""
        if self._opened is None:
            return
        found = _identity(self._path)
        if found == self._opened:
            self._take_up_again()
            return
        self._is_missed = True
        if found is None:
            raise DatabaseAway(f"the database's file is gone: {self._path}", remedy=_GONE)
        raise DatabaseAway(
            f"the database's file was replaced: {self._path} is another file now", remedy=_REPLACED
        )

    def _take_up_again(self) -> None:
        if self._is_missed:
            # The files beside it may be others. The last connection to close merges the old ones.
            self._is_missed = False
            self._engine.dispose()

    def _open_existing(
        self, _dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]
    ) -> None:
        """After the first connection, none may make an empty file in the place of one that was removed."""
        if self._opened is not None:
            arguments[0] = f"file:{quote(str(self._path))}?mode=rw"
            options["uri"] = True

    def _note(self, *_: object) -> None:
        if self._opened is None:
            self._opened = _identity(self._path)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
