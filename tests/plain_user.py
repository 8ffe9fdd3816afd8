"""Commands as a user without rights, begun by tests that run as root."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

#: Without "$1", whatever else is in it: others may enter that, and find nothing but "$2".
_OPENED = """
exec 3<"$2" && mount -t tmpfs -o mode=755 none "$1" && mkdir -p "$2" &&
mount --no-canonicalize --bind /proc/self/fd/3 "$2" && exec 3<&- && shift 2 && exec "$@"
"""


def as_user(user: int | None, *options: str) -> list[str]:
    """The beginning of a command line, with options of setpriv; empty for None."""
    if user is None:
        return []
    ids = (f"--reuid={user}", f"--regid={user}", "--clear-groups")
    return [*_with_python(), "setpriv", *ids, *options]


def _with_python() -> list[str]:
    """Lets everybody read this Python, in mounts of its own: it may lie in a directory of root's."""
    python = Path(sys.base_prefix)
    closed = next((path for path in reversed(python.parents) if not path.stat().st_mode & stat.S_IXOTH), None)
    if closed is None:
        return []
    mounts = ["unshare", "--mount", "--propagation", "private"]
    return [*mounts, "sh", "-c", _OPENED, "sh", str(closed), str(python)]
