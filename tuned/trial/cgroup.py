"""Control groups (version 2): one for each trial, so that a whole tree can be found and killed.

The keeper uses them if it can write to its own group: under systemd with Delegate=, and as root. A process
joins before its program begins, so nothing that it starts can be outside. The limits of a trial on memory,
CPU time and processes are written to its group, if the host has their controllers.

A group that systemd delegated is the daemon's to divide. It moves itself into ``supervisor/``, beside
``trials/``, because a group that has processes of its own cannot give controllers to the groups below it.

This module alone makes, kills and removes groups. It must never touch a group that it did not make.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from asyncinotify import Inotify, Mask

from tuned.disk.users import described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import FilteringBoundLogger

    from tuned.domain.resources import Limits
    from tuned.experiment.resources import Resources

_log: FilteringBoundLogger = structlog.get_logger()

CREATE_TRIES = 10

#: The controllers that we use, by the key of ``[resources]`` that needs them.
CONTROLLERS = {"memory": "memory", "cpus": "cpu", "pids": "pids"}

#: cpu.max counts in these: the kernel's own default.
CPU_PERIOD_MICROSECONDS = 100_000

#: How long killed processes may take to be gone.
EMPTY_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """How the end of a group went."""

    #: False: processes that were killed are still there.
    is_gone: bool
    #: How many of its processes the kernel killed for want of memory.
    oom_kills: int


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The group of one trial."""

    path: Path

    def processes(self) -> list[int]:
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]

    def kill(self) -> None:
        """Kills all processes of the group and of the groups below it at once."""
        (self.path / "cgroup.kill").write_text("1")

    def is_empty(self) -> bool:
        return "populated 0" in (self.path / "cgroup.events").read_text()

    async def wait_empty(self, seconds: float = EMPTY_SECONDS) -> bool:
        """Waits until no process is left; False if some still are after so long."""
        if self.is_empty():
            return True
        with Inotify() as inotify, contextlib.suppress(TimeoutError):
            inotify.add_watch(self.path / "cgroup.events", Mask.MODIFY)
            async with asyncio.timeout(seconds):
                while not self.is_empty():
                    await inotify.get()
        return self.is_empty()

    async def clear(self) -> Cleared:
        """Kills all processes of the group, waits until they are gone, and removes it."""
        is_gone = self.is_empty()
        if not is_gone:
            self.kill()
            is_gone = await self.wait_empty()
        cleared = Cleared(is_gone=is_gone, oom_kills=self.oom_kills())
        self.remove()
        return cleared

    def oom_kills(self) -> int:
        """How many processes the kernel killed for want of memory, in the group and in groups below it.

        0 if memory is not accounted. (memory.events.local would leave out the groups that a trial makes.)
        """
        try:
            lines = (self.path / "memory.events").read_text().splitlines()
        except FileNotFoundError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def limit(self, limits: Limits, controllers: frozenset[str]) -> None:
        """Sets the limits whose controllers there are. Raises OSError if the kernel refuses one."""
        for controller, file, value in _files(limits):
            if controller in controllers:
                _write(self.path / file, value)
        if limits.memory is not None and (self.path / "memory.swap.max").exists():
            # Swapped memory would not count: the limit would only make the trial slow.
            _write(self.path / "memory.swap.max", "0")

    def remove(self) -> None:
        """Removes the empty group, with groups that the trial made below it."""
        for directory, _, _ in os.walk(self.path, topdown=False):
            try:
                Path(directory).rmdir()
            except OSError as error:
                _log.warning("control group not removed", path=directory, error=str(error))


@dataclass(frozen=True, slots=True)
class Root:
    """The place in which the groups of this daemon's trials are made."""

    path: Path
    #: Those of ``CONTROLLERS`` that trials' groups have.
    controllers: frozenset[str] = frozenset()

    def create(self, name: str) -> Cgroup:
        """A group without limits. Raises OSError if the system gives no more groups."""
        path = self.path / name
        for _ in range(CREATE_TRIES):
            try:
                path.mkdir()
            except FileNotFoundError:
                # Another daemon in our group that just ended has removed the place.
                self.path.mkdir(exist_ok=True)
                continue
            if self.controllers - _controllers(self.path / "cgroup.subtree_control"):
                _enable(self.path)
            return Cgroup(path)
        raise FileNotFoundError(errno.ENOENT, "control groups disappear as they are made", str(self.path))

    async def kill_leftovers(self, prefix: str) -> None:
        """Kills and removes the groups of these names that an earlier daemon left."""
        leftovers = [Cgroup(path) for path in self.path.glob(f"{prefix}*") if path.is_dir()]
        await asyncio.gather(*(group.clear() for group in leftovers))

    def remove(self) -> None:
        """Removes the place itself, unless another daemon has groups there."""
        with contextlib.suppress(OSError):
            self.path.rmdir()


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Control groups cannot be used on this host; ``reason`` says why, for people."""

    reason: str


def find() -> Root | Unavailable:
    """The groups below the daemon's own, or why there can be none."""
    own = _own_group()
    if own is None:
        return Unavailable("no cgroup v2 is mounted, or the daemon is in none of its groups")
    if not os.access(own / "cgroup.procs", os.W_OK):
        return Unavailable(f"{described(os.geteuid())} may not write to {own}")
    trials = own / "trials"
    try:
        if _is_delegated(own):
            _move_into(own / "supervisor")
            _enable(own)
        trials.mkdir(exist_ok=True)
        controllers = _enable(trials)
    except OSError as error:
        return Unavailable(f"cannot divide {own}: {error}")
    if not os.access(trials / "cgroup.kill", os.W_OK):
        return Unavailable("this kernel has no cgroup.kill (Linux 5.14)")
    return Root(trials, controllers)


def kept(root: Root | None) -> list[str]:
    """The keys of ``[resources]`` whose limits this host keeps."""
    there = frozenset() if root is None else root.controllers
    return [key for key, controller in CONTROLLERS.items() if controller in there]


def unenforced(resources: Resources, root: Root | None) -> str:
    """The limits that this host does not keep, and why, for people; empty if it keeps all."""
    known = kept(root)
    missing = {key: text for key, text in resources.limits.items() if key not in known}
    if not missing:
        return ""
    names = ", ".join(CONTROLLERS[key] for key in missing)
    why = "no control groups (isolation best-effort)" if root is None else f"no controller for {names}"
    limits = ", ".join(f"{key} {text}" for key, text in missing.items())
    return f"trials run without the limit {limits}: this host has {why}"


def _files(limits: Limits) -> Iterator[tuple[str, str, str]]:
    """Controller, file and the text to write there."""
    if limits.memory is not None:
        yield CONTROLLERS["memory"], "memory.max", str(limits.memory)
    if limits.cpus is not None:
        quota = round(limits.cpus * CPU_PERIOD_MICROSECONDS)
        yield CONTROLLERS["cpus"], "cpu.max", f"{quota} {CPU_PERIOD_MICROSECONDS}"
    if limits.pids is not None:
        yield CONTROLLERS["pids"], "pids.max", str(limits.pids)


def _enable(group: Path) -> frozenset[str]:
    """Gives our controllers of one group to the groups below it; returns those that they then have."""
    for controller in sorted(_controllers(group / "cgroup.controllers")):
        try:
            _write(group / "cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            _log.warning("controller not enabled", controller=controller, error=str(error))
    return _controllers(group / "cgroup.subtree_control")


def _controllers(file: Path) -> frozenset[str]:
    """Those of ours that a file names."""
    return frozenset(CONTROLLERS.values()) & frozenset(file.read_text().split())


def _write(file: Path, value: str) -> None:
    try:
        file.write_text(value)
    except OSError as error:
        # A refused write does not say of which file.
        raise OSError(error.errno, error.strerror, str(file)) from error


def _is_delegated(group: Path) -> bool:
    """Whether systemd says that the group, and all below it, is ours alone."""
    try:
        return os.getxattr(group, "user.delegate") == b"1"
    except OSError:
        return False


def _move_into(group: Path) -> None:
    group.mkdir(exist_ok=True)
    _write(group / "cgroup.procs", "0")


def _own_group() -> Path | None:
    groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    own = next((line.removeprefix("0::") for line in groups if line.startswith("0::")), None)
    if own is None:
        return None
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, filesystem = line.partition(" - ")
        if filesystem.startswith("cgroup2 "):
            root, mount_point = fields.split()[3:5]
            return Path(mount_point) / own.removeprefix(root).lstrip("/")
    return None
