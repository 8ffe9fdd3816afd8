"""Hosts for tests: systemd in a container, on an overlay of this machine's files that vanishes with it.

A host is one process tree in a mount namespace and a control group of its own. It ends with the thread that
started it, so nothing is left of it however the tests end: no process, no mount, no file.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.waiting import until

BOOT_SECONDS = 90
COMMAND_SECONDS = 120

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

#: In namespaces of its own, whose end is the end of all: an overlay in memory, then systemd in it.
_BOOT = r"""
set -e
mount -t tmpfs -o size=3g,mode=0755 tmpfs "$HOME_"
mkdir "$HOME_/upper" "$HOME_/work" "$HOME_/root"
mount -t overlay -o "lowerdir=/,upperdir=$HOME_/upper,workdir=$HOME_/work" overlay "$HOME_/root"
root=$HOME_/root
echo "$NAME" > "$root/etc/hostname"
: > "$root/etc/machine-id"
# What this machine happens to run is no part of the host.
rm -rf "$root"/etc/systemd/system/*.wants "$root"/var/log/journal "$root"/var/lib/man-db/auto-update
mkdir "$root/var/log/journal"
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
# nspawn keeps the host's own files here; it refuses to clean them up on a disk.
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
# 133: the host reboots.
status=133
while [ "$status" = 133 ]; do
    status=0
    systemd-nspawn --quiet --directory="$root" --machine="$NAME" --register=no \
        --keep-unit --console=pipe --boot || status=$?
done
exit "$status"
"""


class CannotBoot(Exception):
    """This machine cannot run the tests; the text says what is missing."""


class Machine:
    """One host, from ``start_boot`` to ``close``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._home = Path(tempfile.mkdtemp(prefix=f"tuned-{name}-"))
        self._console = self._home.with_suffix(".console")
        self._group = _unified_groups() / f"tuned-test-{os.getpid()}-{self._home.name}"
        self._process: subprocess.Popen[bytes] | None = None

    def start_boot(self) -> None:
        self._group.mkdir()
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _BOOT],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={
                    "PATH": os.environ["PATH"], "HOME_": str(self._home), "NAME": self.name,
                    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                },
                preexec_fn=self._begin,  # noqa: PLW1509 (one write and one call of prctl, which take no lock)
            )  # fmt: skip

    def close(self) -> None:
        """Leaves nothing, whatever happened before."""
        if self._group.exists():
            (self._group / "cgroup.kill").write_text("1")
            until(self._is_group_empty, what=f"the processes of {self.name} to end")
            for groups in _hierarchies():
                _remove_group(groups / self._group.name)
        if self._process is not None:
            self._process.wait()
        shutil.rmtree(self._home)
        self._console.unlink(missing_ok=True)

    def until_up(self) -> None:
        def is_up() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise CannotBoot(f"{self.name} does not boot:\n{self._console.read_text(errors='replace')}")
            state = self.run("systemctl", "is-system-running", is_checked=False)
            return state.stdout.strip() in {"running", "degraded"}

        until(is_up, what=f"{self.name} to boot", seconds=BOOT_SECONDS)

    def reboot(self) -> None:
        before = self.boot_id()
        self.run("systemctl", "--no-block", "reboot", is_checked=False)
        until(lambda: self.boot_id() not in {before, ""}, what="the reboot", seconds=BOOT_SECONDS)
        self.until_up()

    def boot_id(self) -> str:
        """Containers share the kernel's; the time at which init started is as good."""
        with contextlib.suppress(OSError, IndexError):
            stat = Path("/proc", str(self.leader()), "stat").read_text()
            return stat.rpartition(")")[2].split()[19]
        return ""

    def run(
        self, *command: str, user: str | None = None, stdin: str = "", is_checked: bool = True
    ) -> subprocess.CompletedProcess[str]:
        as_user = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        done = subprocess.run(
            [*self._enter(), *as_user, *command],
            input=stdin, capture_output=True, text=True,
            # The journal's export form has lengths in binary beside fields of several lines.
            errors="replace",
            check=False, timeout=COMMAND_SECONDS, cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )  # fmt: skip
        if is_checked and done.returncode != 0:
            output = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{self.name}: {' '.join(command)}: {done.returncode}\n{output}")
        return done

    def path(self, inside: str) -> Path:
        """A file of the host, as seen from here."""
        return Path("/proc", str(self.leader()), "root", inside.lstrip("/"))

    def leader(self) -> int:
        """The host's init, in our eyes; 0 while there is none."""
        assert self._process is not None
        pid = self._process.pid
        # unshare, sh, systemd-nspawn, init
        for _ in range(3):
            pid = _child(pid) if pid else 0
        return pid

    def processes(self) -> list[int]:
        """All of the host's, in our eyes."""
        return [int(pid) for group in self._group.rglob("cgroup.procs") for pid in group.read_text().split()]

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self.leader()), "--all"]

    def _begin(self) -> None:
        (self._group / "cgroup.procs").write_text("0")
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def _is_group_empty(self) -> bool:
        return "populated 0" in (self._group / "cgroup.events").read_text()


def _child(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return 0


def require_host() -> None:
    """Raises CannotBoot if no host can be booted here."""
    if os.geteuid() != 0:
        raise CannotBoot("it needs root")
    missing = [program for program in ("systemd-nspawn", "nsenter", "unshare") if not shutil.which(program)]
    if missing:
        raise CannotBoot(f"there is no {', '.join(missing)} (Debian: apt-get install systemd-container)")
    _unified_groups()
    remove_old_groups()


def remove_old_groups() -> None:
    """Removes the groups without processes that a killed run left."""
    for groups in _hierarchies():
        for group in groups.glob("tuned-test-*"):
            if not Path("/proc", group.name.split("-")[2]).exists():
                _remove_group(group)


def _remove_group(group: Path) -> None:
    """Removes a group with all below it, if there is one."""
    for directory, _, _ in os.walk(group, topdown=False):
        Path(directory).rmdir()


def _unified_groups() -> Path:
    for directory, kind in _mounted_hierarchies():
        if kind == "cgroup2":
            return directory
    raise CannotBoot("there is no cgroup v2 (mount -t cgroup2 ...)")


def _hierarchies() -> list[Path]:
    """If there is version 1 too, systemd-nspawn makes the host's group in systemd's hierarchy as well."""
    return [directory for directory, _ in _mounted_hierarchies()]


def _mounted_hierarchies() -> list[tuple[Path, str]]:
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = [(Path(line[4]), line[line.index("-") + 1]) for line in lines]
    return [(directory, kind) for directory, kind in kinds if kind in {"cgroup", "cgroup2"}]
