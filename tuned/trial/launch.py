"""A launch: the program of one evaluation, its environment and directory, and why it cannot be started.

It owns values that a process which knows no experiment can carry out. It must never give the daemon's own
environment variables to a trial, and never start anything itself.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuned.domain.resources import UNLIMITED, Limits
from tuned.errors import printable
from tuned.trial.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.trial.cgroup import Root


#: The daemon's own, or such as would let a trial speak in its name: never in a trial's environment.
_WITHHELD = frozenset({"CREDENTIALS_DIRECTORY", "JOURNAL_STREAM", "NOTIFY_SOCKET", "INVOCATION_ID"})

_WITHHELD_PREFIXES = ("LISTEN_", "PG", "TUNED_", "WATCHDOG_")


#: The kernel reads no more of a script's first line.
_LONGEST_FIRST_LINE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The program to run, its surroundings, and how its output is understood."""

    argv: tuple[str, ...]
    #: Complete; nothing is added but the mark by which the tree is found.
    environment: Mapping[str, str]
    workdir: Path
    log: Path
    timeout_seconds: float | None
    objectives: int
    pattern: str | None
    #: ``<installation>/<claim>``
    mark: str
    #: The place in which its group is made, and the limits of that.
    cgroups: Root | None
    limits: Limits = UNLIMITED
    #: Made in this order before the program begins. Those above them say who of our group may look in.
    directories: tuple[Path, ...] = ()
    #: Those of them that are removed at the end if the program left nothing there.
    removed_if_empty: tuple[Path, ...] = ()
    #: Between SIGTERM and SIGKILL when the tree is killed.
    grace_seconds: float = 0.0
    #: A line of ours in the log ahead of its output; empty for none.
    heading: str = ""
    #: It is a Python objective, which reports on a socket of its own, and not on standard output.
    is_objective: bool = False


#: The descriptors of a program: its standard output, its standard error, and the socket of an objective.
Outputs = tuple[int, ...]

#: Begins what a launch says, with these descriptors.
Start = Callable[[Launch, Outputs], Awaitable[Tree]]


@functools.cache
def own_environment() -> Mapping[str, str]:
    """The environment of this process without the daemon's secrets. All that changes in it is among these."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _WITHHELD and not name.startswith(_WITHHELD_PREFIXES)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Premise:
    """The parts of a host that the trials of an experiment need; None for one that is not looked for."""

    #: From which an objective is imported.
    path: str | None
    #: It comes with a working directory.
    program: str | None
    workdir: str | None
    #: The PATH.
    search: str


def missing(premise: Premise) -> str:
    """Why no trial can run on this host, for people; empty if it seems that they can."""
    if premise.path is not None and not Path(premise.path).is_dir():
        return f"cannot import from {premise.path}: there is no such directory"
    if premise.program is None or premise.workdir is None:
        return ""
    return _problem(premise.program, Path(premise.workdir), premise.search) or ""


def launch_problem(launch: Launch) -> str | None:
    """Why the program cannot be started, in words that help; None if it seems that it can."""
    return _problem(launch.argv[0], launch.workdir, launch.environment.get("PATH", os.defpath))


def _problem(program: str, workdir: Path, search: str) -> str | None:
    if not workdir.is_dir():
        return f"cannot run in {workdir}: there is no such directory"
    if not os.access(workdir, os.X_OK):
        return f"cannot run in {workdir}: permission denied"
    if "/" in program:
        path = workdir / program
        if absence := _absence(path):
            return f"cannot run {program!r}: {absence} (working directory {workdir})"
        if not os.access(path, os.X_OK) or path.is_dir():
            return f"cannot run {program!r}: it is not executable"
        return (
            None if (problem := interpreter_problem(path)) is None else f"cannot run {program!r}: {problem}"
        )
    return (
        None
        if shutil.which(program, path=search)
        else f"cannot run {program!r}: not found in PATH ({search})"
    )


def _absence(path: Path) -> str:
    """Why a program cannot be found there; empty if it can."""
    try:
        path.stat()
    except FileNotFoundError:
        return (
            f"it is a link to {path.resolve()}, which is not there"
            if path.is_symlink()
            else "there is no such file"
        )
    except OSError as error:
        return (error.strerror or "it cannot be found").lower()
    return ""


def interpreter_problem(script: Path) -> str | None:
    """Why the interpreter that a script names in its first line cannot run it; None for other files too."""
    try:
        with script.open("rb") as file:
            line = file.readline(_LONGEST_FIRST_LINE)
    except OSError:
        return None
    words = line[2:].split(maxsplit=1) if line.startswith(b"#!") else []
    # A space ends the interpreter's name for the kernel, and a carriage return does not.
    name = line[2:].strip(b" \t\n").split(b" ")[0] if words else b""
    interpreter = Path(os.fsdecode(name))
    if not words or interpreter.exists():
        return None
    shown = printable(os.fsdecode(name))
    if name.endswith(b"\r"):
        return (
            f"its first line names the interpreter {shown}, because the lines of {script} end as on "
            "Windows: convert it, such as with sed -i 's/\\r$//'"
        )
    return f"its first line names the interpreter {shown}, and there is no such file"
