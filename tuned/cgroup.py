"""Control groups (version 2): one for each trial, so that a whole tree can be found and killed.

Used wherever the daemon's own group can be written: under systemd with Delegate=, and as root. A process
joins before its program begins, so nothing that it starts can be outside.

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

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()

#: Joins the group given as $0, then becomes the program; a failure to join must not run it outside.
JOIN = (
    'echo 0 > "$0/cgroup.procs" || { echo "tuned: cannot join the trial\'s control group" >&2; exit 125; }; '
    'exec "$@"'
)

CREATE_TRIES = 10

#: How long what was killed may take to be gone.
EMPTY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The group of one trial."""

    path: Path

    def joining(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """The command that joins the group and becomes ``argv``."""
        return ("/bin/sh", "-c", JOIN, str(self.path), *argv)

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
        """How many processes the kernel killed for want of memory; 0 where memory is not accounted."""
        try:
            lines = (self.path / "memory.events").read_text().splitlines()
        except FileNotFoundError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

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

    def create(self, name: str) -> Cgroup:
        """Raises OSError if the system gives no more groups."""
        path = self.path / name
        for _ in range(CREATE_TRIES):
            # Another daemon in our group that just ended may have removed the place.
            self.path.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                path.mkdir()
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
        trials.mkdir(exist_ok=True)
    except OSError:
        return None
    # Kernels before 5.14 have no cgroup.kill.
    return Root(trials) if os.access(trials / "cgroup.kill", os.W_OK) else None


def _is_delegated(group: Path) -> bool:
    """Whether systemd says that the group, and all below it, is ours alone."""
    try:
        return os.getxattr(group, "user.delegate") == b"1"
    except OSError:
        return False


def _move_into(group: Path) -> None:
    group.mkdir(exist_ok=True)
    (group / "cgroup.procs").write_text("0")


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
