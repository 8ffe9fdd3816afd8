"""The spool directory: experiment files come in at its top and move on as the experiments do.

It owns the directory: its lock, ``active/``, ``done/``, ``cancelled/`` and ``rejected/``. It must never run
what the file's owner can still change, follow a link, overwrite a file that was taken, or lose one.
docs/reference/spool.md tells why it is done this way.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
import threading
from typing import TYPE_CHECKING, Self

import structlog

from tuned.disk import files
from tuned.disk.arrivals import (
    SUFFIX,
    Change,
    Folder,
    Refused,
    Taken,
    active_path,
    identity,
    is_looked_at,
    name_of,
    open_arrived,
    read_kept,
    read_taken,
    unusable,
)
from tuned.disk.origin import unmarked
from tuned.disk.spool_watch import changes, gone, watched
from tuned.disk.users import user_name
from tuned.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from tuned.disk.arrivals import Intake

_log: FilteringBoundLogger = structlog.get_logger()

#: A file of which we may not know whether it is being written must have been quiet for so long.
SETTLE_SECONDS = 1.0

#: Characters that no name in rejected/ has, because terminals obey some of them.
_UNSAFE = re.compile(r"^[^A-Za-z0-9]|[^A-Za-z0-9._-]")

_IS_ACTIVE = "an experiment file of this name is active"


class Spool:
    """The spool, locked, from construction to ``close``. Every method but ``changes`` may run in a thread."""

    def __init__(self, path: Path) -> None:
        """Creates what is missing.

        Raises Conflict if another daemon has it; InvalidInput if it is unusable or any user may write to it.
        """
        self.path = path
        #: Files that were left in their place, and why, so that each is told once.
        self._left: dict[str, tuple[object, ...]] = {}
        #: Arrivals that went to ``rejected/``, and why, until somebody asks.
        self._refusals: list[tuple[str, str]] = []
        #: Names of arrivals that were active already, with the same content, until somebody asks.
        self._unchanged: list[str] = []
        self._moving = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.make_directory(path, 0o700)
            self._group = files.require_directory(path, closed_to=stat.S_IWOTH).st_gid
            for folder in Folder:
                files.require_directory(self._folder(folder), closed_to=stat.S_IWGRP | stat.S_IWOTH)
            # The lock is on active/ itself: there is no lock file that someone could remove.
            lock = files.lock_directory(path / Folder.ACTIVE)
        except OSError as error:
            raise unusable(path, error) from error
        if lock is None:
            raise Conflict(
                f"cannot use spool {path}: another daemon has it; "
                "stop that one, or give this one a spool of its own (--spool)"
            )
        self._lock = lock
        files.remove_temporaries(path / Folder.ACTIVE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._lock)

    def take(self, limit: int = 100, *, intake: Intake | None = None) -> list[Taken]:
        """Takes what has arrived, at most ``limit`` files; an empty list when there is nothing more for now.

        A file that cannot be taken now (it is being written, may not be read, the disk is full) stays, and is
        looked at again by a later call. Raises NotFound if the spool itself is gone.
        """
        taken: list[Taken] = []
        with self._moving:
            self._require_spool()
            arrivals = sorted(filter(is_looked_at, self._files()))
            for file in arrivals:
                if len(taken) == limit:
                    break
                if one := self._look_at(file, intake):
                    taken.append(one)
            self._left = {file: why for file, why in self._left.items() if file in arrivals}
        return taken

    def refusals(self) -> list[tuple[str, str]]:
        """The arrivals that were refused since the last call, and why."""
        with self._moving:
            found, self._refusals = self._refusals, []
        return found

    def unchanged(self) -> list[str]:
        """The arrivals since the last call that were removed because the same file is active, by name."""
        with self._moving:
            found, self._unchanged = self._unchanged, []
        return found

    def active(self) -> list[Taken]:
        """The files taken before this start; one that is no experiment file goes to ``rejected/``."""
        taken = []
        with self._moving:
            for path in sorted((self.path / Folder.ACTIVE).iterdir()):
                if not is_looked_at(path.name):
                    continue
                try:
                    taken.append(read_taken(path))
                except Refused as refusal:
                    self._reject(path, str(refusal))
                except OSError as error:
                    self._leave(path.name, error)
        return taken

    def active_file(self, name: str) -> Taken | None:
        """An active file as it is now, which a person may have changed; None if it is gone or unreadable."""
        return read_kept(active_path(self.path, name), name)

    def is_active(self, name: str) -> bool:
        return os.path.lexists(active_path(self.path, name))

    def retire(self, name: str, into: Folder) -> Path:
        """Moves an experiment's file out of ``active/`` and returns its path now. Raises NotFound."""
        with self._moving:
            path = self._require_active(name)
            return files.move(path, self._free_path(into, path.name))

    def adopt(self, taken: Taken) -> bool:
        """Puts a file of another host into ``active/``; False if one of this name is there.

        Raises NotFound if the spool itself is gone.
        """
        with self._moving:
            self._require_spool()
            if self.is_active(taken.name):
                return False
            self._write(active_path(self.path, taken.name), taken.text)
            return True

    def bring_back(
        self, name: str, is_it: Callable[[bytes], bool], folders: Collection[Folder] = (Folder.DONE,)
    ) -> Taken | None:
        """Moves the newest file in ``folders`` that had this name, and is the one, to ``active/`` again.

        None if there is none, or another file of this name is active.
        """
        numbered = re.compile(rf"{re.escape(name)}(\.[0-9]+)?{re.escape(SUFFIX)}")
        with self._moving:
            paths = itertools.chain(*(self._folder(folder).iterdir() for folder in folders))
            kept = [path for path in paths if numbered.fullmatch(path.name)]
            for path in sorted(kept, key=lambda path: path.lstat().st_mtime_ns, reverse=True):
                taken = read_kept(path, name)
                if taken is not None and is_it(taken.content) and not self.is_active(name):
                    files.move(path, self.path / Folder.ACTIVE / taken.file)
                    return taken
        return None

    def replace(self, taken: Taken, *, before: Taken | None = None) -> bool:
        """Gives an active file another content; False if it is not as it was ``before``. Raises NotFound."""
        with self._moving:
            path = self._require_active(taken.name)
            if is_same := self._is_still(taken.name, before):
                self._write(path, taken.text)
            return is_same

    def discard(self, name: str, *, before: Taken | None = None) -> bool:
        """Removes a file from ``active/``; False if it is not as it was ``before``. Raises NotFound."""
        with self._moving:
            path = self._require_active(name)
            if is_same := self._is_still(name, before):
                path.unlink()
            return is_same

    def _is_still(self, name: str, before: Taken | None) -> bool:
        """Whether an active file is as it was; without ``before``, anything will do."""
        return before is None or self.active_file(name) == before

    def discard_all(self, folders: Collection[Folder], is_it: Callable[[str, bytes], bool]) -> None:
        """Removes the files in these folders of which ``is_it`` says so, by a file's name and content."""
        with self._moving:
            for path in [path for folder in folders for path in self._folder(folder).iterdir()]:
                kept = read_kept(path, path.name.removesuffix(SUFFIX)) if is_looked_at(path.name) else None
                if kept is not None and is_it(kept.file, kept.content):
                    path.unlink(missing_ok=True)

    def reject(self, name: str, problems: str) -> Path:
        """Moves an active experiment's file to ``rejected/``, with the problems (one a line) beside it."""
        with self._moving:
            return self._reject(self._require_active(name), problems)

    async def changes(self) -> AsyncGenerator[Change, None]:
        """Says what there may be to do: once when the spool is watched, then with every change.

        Raises NotFound when the spool is gone, InvalidInput when the system has no watch to give.
        """
        with watched(self.path) as inotify:
            self._require_spool()
            found = changes(inotify, self.path, SETTLE_SECONDS + 0.1)
            async with contextlib.aclosing(found):
                async for change in found:
                    yield change

    def _look_at(self, file: str, intake: Intake | None) -> Taken | None:
        try:
            if file in self._left and self._left[file] == self._permissions(file):
                return None
            return self._take(file, intake)
        except Refused as refusal:
            self._refuse(file, str(refusal))
            return None
        except FileNotFoundError:
            return None  # Its owner took it back.
        except OSError as error:
            self._leave(file, error)
            return None

    def _take(self, file: str, intake: Intake | None) -> Taken | None:
        source, held = self.path / file, self.path / Folder.ACTIVE / file
        name = name_of(file)
        with open_arrived(source) as opened:
            seen = os.fstat(opened.fileno())
            if files.is_being_written(opened, quiet_seconds=SETTLE_SECONDS):
                return None
            content = opened.read()
            if identity(os.fstat(opened.fileno())) != identity(seen):
                return None
        if intake is not None:
            intake.bring(name, content, seen.st_uid)
        if not os.path.lexists(held):
            self._copy(content, source, held, seen)
            _log.info("experiment file taken", experiment=name, user=user_name(seen.st_uid), uid=seen.st_uid)
            return Taken(name=name, content=content)
        before = held.read_bytes()
        kept, origin = unmarked(before)
        differs = "" if intake is None else intake.explain(name, content, bool(origin))
        if differs and (origin or kept == content):
            raise Refused(differs)
        if not origin and kept != content:
            raise Refused(f"{_IS_ACTIVE}: {differs}" if differs else _IS_ACTIVE)
        if origin:
            # A person's file takes the place of one that another host gave.
            self._copy(content, source, held, seen, before)
        else:
            # We stopped between the copy and the removal of the original, or its owner sent it twice.
            self._remove_original(source, seen)
        if kept != content:
            return Taken(name=name, content=content)
        self._unchanged.append(name)
        return None

    def _copy(
        self, content: bytes, source: Path, held: Path, seen: os.stat_result, before: bytes | None = None
    ) -> None:
        try:
            self._write(held, content)
            self._remove_original(source, seen)
        except OSError:
            # A file that stays, such as another member's in a sticky spool that is not ours, is not taken.
            if before is None:
                held.unlink(missing_ok=True)
            else:
                self._write(held, before)
            raise

    def _write(self, path: Path, text: bytes) -> None:
        files.write(path, text, mode=0o640, group=self._group)

    def _remove_original(self, source: Path, seen: os.stat_result) -> None:
        """Removes what was read; not what its owner may have put there since, of the same name."""
        aside = files.temporary(self.path / Folder.ACTIVE / source.name)
        source.rename(aside)
        if identity(aside.lstat()) == identity(seen):
            aside.unlink()
        else:
            self._reject(aside, _IS_ACTIVE, file=source.name)

    def _refuse(self, file: str, problems: str) -> None:
        try:
            self._reject(self.path / file, problems)
            self._refusals.append((file, problems))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._leave(file, error)

    def _reject(self, path: Path, problems: str, *, file: str | None = None) -> Path:
        target = self._free_path(Folder.REJECTED, file or path.name)
        explanation = target.with_name(f"{target.name}.error")
        self._explain(explanation, problems)
        try:
            if (aside := self._move_rejected(path, target)) != target:
                problems += f"; nobody but its owner may move a directory away, so it is now {aside}"
                self._explain(explanation, problems)
        except OSError:
            explanation.unlink(missing_ok=True)
            raise
        _log.warning("experiment file rejected", file=target.name, problems=problems)
        return aside

    def _explain(self, explanation: Path, problems: str) -> None:
        text = problems.encode("utf-8", "backslashreplace") + b"\n"
        try:
            self._write(explanation, text)
        except OSError as error:
            # A file that must not run is moved all the same; the log has the problems.
            _log.error("error file not written", file=explanation.name, error=str(error))

    def _move_rejected(self, path: Path, target: Path) -> Path:
        """To ``target``; another user's directory to a name beside it that is not looked at."""
        try:
            return files.move(path, target)
        except PermissionError:
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise
        names = (f"{target.name}.{number}.rejected" for number in itertools.count())
        return files.move(path, next(at for at in map(self.path.joinpath, names) if not os.path.lexists(at)))

    def _free_path(self, folder: Folder, file: str) -> Path:
        """The first of NAME.toml, NAME.1.toml, ... that is free; only who has the lock puts files there."""
        directory, stem = self._folder(folder), _UNSAFE.sub("_", file.removesuffix(SUFFIX))[:100]
        names = (f"{stem}.{number}" if number else stem for number in itertools.count())
        paths = (directory / (name + SUFFIX) for name in names)
        return next(path for path in paths if not os.path.lexists(path))

    def _folder(self, folder: Folder) -> Path:
        files.make_directory(self.path / folder, 0o750, group=self._group)
        return self.path / folder

    def _leave(self, file: str, error: OSError) -> None:
        """Tells once why a file stays; what lacks permission is not tried again until that changes."""
        why: tuple[object, ...] = (error.errno,)
        if isinstance(error, PermissionError):
            with contextlib.suppress(OSError):
                why = self._permissions(file)
        if self._left.get(file) != why:
            _log.error("experiment file cannot be taken", file=ascii(file), error=str(error))
        self._left[file] = why

    def _permissions(self, file: str) -> tuple[object, ...]:
        spool, status = self.path.stat(), (self.path / file).lstat()
        return (spool.st_mode, spool.st_uid, spool.st_gid, status.st_ino, status.st_ctime_ns)

    def _files(self) -> list[str]:
        try:
            return os.listdir(self.path)  # noqa: PTH208 (names are all that is wanted)
        except OSError as error:
            raise unusable(self.path, error) from error

    def _require_active(self, name: str) -> Path:
        if not self.is_active(name):
            raise NotFound(f"cannot move {name}{SUFFIX}: it is not in {self.path / Folder.ACTIVE}")
        return active_path(self.path, name)

    def _require_spool(self) -> None:
        with contextlib.suppress(OSError):
            if os.path.samestat((self.path / Folder.ACTIVE).stat(), os.fstat(self._lock)):
                return
        raise gone(self.path)
