"""Gifts of systemd to the daemon that trials must not have: a capability, and the database's password.

It must never leave either where a trial, or another user, can take it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tuned.disk.files import open_memory

if TYPE_CHECKING:
    from collections.abc import MutableMapping


PASSWORD_FILE = "pgpass"  # noqa: S105 (a file's name)

_PR_CAP_AMBIENT = 47

_PR_CAP_AMBIENT_CLEAR_ALL = 4


def drop_ambient_capabilities() -> None:
    """From now on programs that this thread and its children start have none of the daemon's capabilities.

    Called before there are other threads. Raises OSError if the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot drop capabilities: {os.strerror(number)}")


def take_password_file(environ: MutableMapping[str, str]) -> None:
    """Lets libpq use the credential ``pgpass``, unless PGPASSFILE names another file or it is empty.

    libpq refuses a file whose group may read it, and a credential is one if systemd shows it by an access
    list; so libpq gets a copy in memory that nobody else can open.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory, PASSWORD_FILE) if directory else None
    if credential is None or "PGPASSFILE" in environ or not credential.exists():
        return
    content = credential.read_bytes()
    if not any(line.strip() and not line.startswith(b"#") for line in content.splitlines()):
        return
    with open_memory(content) as file:
        descriptor = os.dup(file.fileno())
    os.fchmod(descriptor, 0o600)
    environ["PGPASSFILE"] = f"/proc/self/fd/{descriptor}"
