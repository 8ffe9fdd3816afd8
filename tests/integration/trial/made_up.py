"""A directory that behaves as control groups do, for machines whose controllers are on version 1.

It does what the kernel documents of making groups, moving processes, enabling controllers and setting limits,
and refuses what the kernel refuses. It limits nothing.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tuned.trial import cgroup

#: The files of each controller in a new group.
FILES = {
    "memory": {"memory.max": "max", "memory.swap.max": "max", "memory.events": "oom_kill 0\n"},
    "cpu": {"cpu.max": "max 100000"},
    "pids": {"pids.max": "max"},
    "io": {"io.max": ""},
}

_make, _write, _remove = Path.mkdir, Path.write_text, Path.rmdir


def _instead(path: Path, act: Callable[..., object], *args: object, **more: object) -> object:
    """As a method of paths: a bound method would not be given its path."""
    return act(path, *args, **more)


class MadeUp:
    """The daemon's own group, with one process in it: the daemon."""

    def __init__(
        self, own: Path, *controllers: str, monkeypatch: pytest.MonkeyPatch, is_delegated: bool = True
    ) -> None:
        self.own = own
        #: Texts that the kernel refuses to have written.
        self.refused: set[str] = set()
        self._fill(own, set(controllers))
        _write(own / "cgroup.procs", f"{os.getpid()}\n")
        monkeypatch.setattr(cgroup, "_own_group", lambda: own)
        monkeypatch.setattr(cgroup, "_is_delegated", lambda _: is_delegated)
        for name, act in {"mkdir": self._mkdir, "write_text": self._write, "rmdir": self._rmdir}.items():
            monkeypatch.setattr(Path, name, functools.partialmethod(_instead, act))

    def words(self, group: str | Path, file: str) -> set[str]:
        return set((self.own / group / file).read_text().split())

    @staticmethod
    def _fill(group: Path, controllers: set[str]) -> None:
        """The files of a group that was just made, or has got more controllers."""
        for file in ("cgroup.procs", "cgroup.kill", "cgroup.subtree_control"):
            (group / file).touch()
        _write(group / "cgroup.events", "populated 0\nfrozen 0\n")
        _write(group / "cgroup.controllers", " ".join(sorted(controllers)))
        for file, content in [each for controller in controllers for each in FILES[controller].items()]:
            if not (group / file).exists():
                _write(group / file, content)

    def _mkdir(self, path: Path, mode: int = 0o777, **more: bool) -> None:
        is_new = not path.exists()
        _make(path, mode, **more)
        if is_new and path.is_relative_to(self.own):
            self._fill(path, self.words(path.parent, "cgroup.subtree_control"))

    def _write(self, path: Path, text: str, **more: str) -> int:
        if path.is_relative_to(self.own):
            if text in self.refused:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            if not path.exists():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            if path.name == "cgroup.procs":
                for group in self.own.rglob("cgroup.procs"):
                    _write(group, "")
                return _write(path, f"{os.getpid()}\n")
            if path.name == "cgroup.subtree_control":
                return self._enable(path.parent, text.removeprefix("+"))
        return _write(path, text, **more)

    def _enable(self, group: Path, controller: str) -> int:
        if controller not in self.words(group, "cgroup.controllers"):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if self.words(group, "cgroup.procs"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        enabled = self.words(group, "cgroup.subtree_control") | {controller}
        for below in filter(Path.is_dir, group.iterdir()):
            self._fill(below, enabled)
        return _write(group / "cgroup.subtree_control", " ".join(sorted(enabled)))

    def _rmdir(self, path: Path) -> None:
        """The kernel's files go with their group."""
        if path.is_relative_to(self.own) and not any(map(Path.is_dir, path.iterdir())):
            for file in path.iterdir():
                file.unlink()
        _remove(path)
