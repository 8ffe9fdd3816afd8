"""Where tuned keeps its things: the system's directories as root and under systemd, else the user's (XDG).

A task of a Slurm job has directories of its own below these.

Imported by ``tunectl`` at every start, so nothing heavy may be imported here, and no file is read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuned.config.slurm import task_of

if TYPE_CHECKING:
    from collections.abc import Mapping


SYSTEM_SOCKET = Path("/run/tuned/tuned.sock")

#: The variables that systemd sets for a unit with StateDirectory= and RuntimeDirectory=.
_SYSTEMD = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The default places; the configuration may name others."""

    config: Path
    spool: Path
    state_dir: Path
    socket: Path


def default_paths(environ: Mapping[str, str], user_id: int | None = None) -> Paths:
    paths = _host_paths(environ, user_id)
    task = task_of(environ)
    if task is None or is_service(environ):
        return paths
    # Tasks share home directories, and $XDG_RUNTIME_DIR may be that of the machine that submitted the job.
    state_dir = paths.state_dir / "slurm" / task.name
    return replace(paths, state_dir=state_dir, spool=state_dir / "spool", socket=state_dir / "tuned.sock")


def _host_paths(environ: Mapping[str, str], user_id: int | None) -> Paths:
    is_root = (os.geteuid() if user_id is None else user_id) == 0
    if is_root or is_service(environ):
        return Paths(
            config=Path("/etc/tuned/tuned.toml"),
            spool=Path("/var/spool/tuned"),
            state_dir=_first(environ.get("STATE_DIRECTORY")) or Path("/var/lib/tuned"),
            socket=(_first(environ.get("RUNTIME_DIRECTORY")) or SYSTEM_SOCKET.parent) / "tuned.sock",
        )
    state_dir = _home(environ, "XDG_STATE_HOME", ".local/state") / "tuned"
    return Paths(
        config=_home(environ, "XDG_CONFIG_HOME", ".config") / "tuned" / "tuned.toml",
        spool=state_dir / "spool",
        state_dir=state_dir,
        socket=_user_socket(environ),
    )


def is_service(environ: Mapping[str, str]) -> bool:
    """Whether systemd began this process from a unit of ours."""
    return any(environ.get(name) for name in _SYSTEMD)


def socket_candidates(environ: Mapping[str, str]) -> list[Path]:
    """Where a daemon may listen, the likeliest first; only there if $TUNED_SOCKET says where."""
    if named := environ.get("TUNED_SOCKET"):
        return [Path(named)]
    return [SYSTEM_SOCKET, _user_socket(environ)]


def _user_socket(environ: Mapping[str, str]) -> Path:
    if runtime := _absolute(environ.get("XDG_RUNTIME_DIR")):
        return runtime / "tuned" / "tuned.sock"
    # No session, as in a container or under su: beside the state, in a directory of the user's own.
    return _home(environ, "XDG_STATE_HOME", ".local/state") / "tuned" / "tuned.sock"


def _home(environ: Mapping[str, str], variable: str, default: str) -> Path:
    home = _absolute(environ.get("HOME")) or Path.home()
    return _absolute(environ.get(variable)) or home / default


def _absolute(text: str | None) -> Path | None:
    """The path; None for a relative one, which the XDG specification says to ignore."""
    return Path(text) if text and text.startswith("/") else None


def _first(text: str | None) -> Path | None:
    """The first of several directories, which systemd parts with colons."""
    return _absolute(text.partition(":")[0]) if text else None
