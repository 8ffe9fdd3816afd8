"""Control groups (version 2): one for each trial, so that a whole tree can be found and killed.

Used wherever the daemon's own group can be written: under systemd with Delegate=, and as root. A process
joins before its program begins, so nothing that it starts can be outside. What a trial may use of memory, CPU
time and processes is written to its group, as far as the controllers are there.

A group that systemd delegated is the daemon's to divide. It moves itself into ``supervisor/``, beside
``trials/``, because a group that has processes of its own cannot give controllers to the groups below it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from asyncinotify import Inotify, Mask

from tuned.domain.resources import UNLIMITED, Resources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()


CREATE_TRIES = 10


#: The controllers that we use, by the key of ``[resources]`` that needs them.
CONTROLLERS = {"memory": "memory", "cpus": "cpu", "pids": "pids"}


#: cpu.max counts in these: the kernel's own default.
CPU_PERIOD_MICROSECONDS = 100_000


#: How long what was killed may take to be gone.
EMPTY_SECONDS = 5.0


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

    def oom_kills(self) -> int:
        """How many processes the kernel killed for want of memory, in the group and in groups below it.

        0 where memory is not accounted. (memory.events.local would leave out the groups that a trial makes.)
        """
        try:
            lines = (self.path / "memory.events").read_text().splitlines()
        except FileNotFoundError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def limit(self, resources: Resources, controllers: frozenset[str]) -> None:
        """Sets the limits whose controllers there are. Raises OSError if the kernel refuses one."""
        for controller, file, value in _limits(resources):
            if controller in controllers:
                _write(self.path / file, value)
        if resources.memory is not None and (self.path / "memory.swap.max").exists():
            # What is swapped out would not count: the limit would only make the trial slow.
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
    """Where the groups of this daemon's trials are made."""

    path: Path
    #: What trials' groups have of ``CONTROLLERS``.
    controllers: frozenset[str] = frozenset()

    def create(self, name: str, resources: Resources = UNLIMITED) -> Cgroup:
        """Raises OSError if the system gives no more groups, or refuses a limit."""
        group = self._create(name)
        try:
            group.limit(resources, self.controllers)
        except OSError:
            group.remove()
            raise
        return group

    def _create(self, name: str) -> Cgroup:
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

    def kill_leftovers(self, prefix: str) -> None:
        """Kills and removes what an earlier daemon left in groups of these names."""
        leftovers = [Cgroup(path) for path in self.path.glob(f"{prefix}*") if path.is_dir()]
        for group in leftovers:
            group.kill()
        deadline = time.monotonic() + EMPTY_SECONDS
        for group in leftovers:
            while not group.is_empty() and time.monotonic() < deadline:
                time.sleep(0.01)
            group.remove()

    def remove(self) -> None:
        """Removes the place itself, unless another daemon has groups there."""
        with contextlib.suppress(OSError):
            self.path.rmdir()


def find() -> Root | None:
    """The groups below the daemon's own; None where there is no cgroup v2 or it cannot be written."""
    own = _own_group()
    if own is None or not os.access(own / "cgroup.procs", os.W_OK):
        return None
    trials = own / "trials"
    try:
        if _is_delegated(own):
            _move_into(own / "supervisor")
            _enable(own)
        trials.mkdir(exist_ok=True)
        controllers = _enable(trials)
    except OSError:
        return None
    # Kernels before 5.14 have no cgroup.kill.
    return Root(trials, controllers) if os.access(trials / "cgroup.kill", os.W_OK) else None


def kept(root: Root | None) -> list[str]:
    """The keys of ``[resources]`` whose limits are kept on this host."""
    there = frozenset() if root is None else root.controllers
    return [key for key, controller in CONTROLLERS.items() if controller in there]


def unenforced(resources: Resources, root: Root | None) -> str:
    """Which limits are not kept on this host, and why, for people; empty if all are."""
    known = kept(root)
    missing = {key: text for key, text in resources.limits.items() if key not in known}
    if not missing:
        return ""
    names = ", ".join(CONTROLLERS[key] for key in missing)
    why = "no control groups (isolation best-effort)" if root is None else f"no controller for {names}"
    limits = ", ".join(f"{key} {text}" for key, text in missing.items())
    return f"trials run without the limit {limits}: this host has {why}"


def _limits(resources: Resources) -> Iterator[tuple[str, str, str]]:
    """Controller, file and what is to be written there."""
    if resources.memory is not None:
        yield CONTROLLERS["memory"], "memory.max", str(resources.memory)
    if resources.cpus is not None:
        quota = round(resources.cpus * CPU_PERIOD_MICROSECONDS)
        yield CONTROLLERS["cpus"], "cpu.max", f"{quota} {CPU_PERIOD_MICROSECONDS}"
    if resources.pids is not None:
        yield CONTROLLERS["pids"], "pids.max", str(resources.pids)


def _enable(group: Path) -> frozenset[str]:
    """Gives the groups below one what it has of our controllers; returns those that they then have."""
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
