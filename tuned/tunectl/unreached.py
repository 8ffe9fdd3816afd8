"""A daemon that cannot be reached, in words: which sockets were tried, and what a person can do.

It looks for the system's service on this host, because a daemon that a person started has no unit.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from tuned.config.paths import SYSTEM_SOCKET
from tuned.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

#: Where a package or an administrator puts the unit.
UNIT_DIRECTORIES = tuple(
    Path(each, "systemd/system") for each in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
)


def unreachable(failures: Sequence[tuple[Path, OSError]]) -> Unreachable:
    paths = [path for path, _ in failures]
    tried = [f"{path}: {_reason(error)}" for path, error in failures]
    closed = [path for path, error in failures if isinstance(error, PermissionError)]
    hints = [_membership(closed[0])] if closed else []
    hints += [f"Is it running? {_look(paths)}", "Somewhere else? --socket PATH or TUNED_SOCKET=PATH"]
    return Unreachable("\n".join(["cannot reach the daemon; tried:", *tried, *hints]))


def is_service(paths: Collection[Path]) -> bool:
    """Whether the daemon of these sockets would be the system's service."""
    # A socket that a person's own daemon has left says that it was that one.
    is_left = any(path != SYSTEM_SOCKET and os.path.lexists(path) for path in paths)
    return SYSTEM_SOCKET in paths and has_unit() and not is_left


def has_unit() -> bool:
    """Whether the system's service is installed."""
    return any((directory / "tuned.service").exists() for directory in UNIT_DIRECTORIES)


def start_of(paths: Collection[Path]) -> str:
    """The command that starts it, in words."""
    return "systemctl start tuned" if is_service(paths) else "start it as it was started before (tuned)"


def log_of(paths: Collection[Path]) -> str:
    """Its log, in words."""
    return "journalctl -u tuned" if is_service(paths) else "its log"


def _look(paths: Collection[Path]) -> str:
    return "systemctl status tuned" if is_service(paths) else f"If not, {start_of(paths)}"


def _membership(path: Path) -> str:
    user, group = _user(), _group(path)
    way = "ask as root" if group is None else f"as root, usermod -a -G {group} {user}, then log in again"
    return f"The socket is closed to {user}: {way}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def _group(path: Path) -> str | None:
    """The group that the socket is open to; None if that is root's."""
    for each in (path, path.parent):
        try:
            gid = each.stat().st_gid
            return grp.getgrgid(gid).gr_name if gid else None
        except PermissionError:
            continue
        except (OSError, KeyError):
            break
    return "tuned"


def _reason(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "no such socket"
        case ConnectionRefusedError():
            return "nobody answers there (left by a daemon that has gone)"
        case PermissionError():
            return "permission denied"
        case _:
            return error.strerror or str(error)
