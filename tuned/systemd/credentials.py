"""What systemd gives to the daemon and trials must not have: a capability, and the database's password."""

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


def keep_capabilities() -> None:
    """From now on what this thread and its children start has none of the daemon's capabilities.

    Called before there are other threads. Nothing to do, and no error, on a kernel without such ones.
    """
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def take_password_file(environ: MutableMapping[str, str]) -> None:
    """Lets libpq use the credential ``pgpass``, unless PGPASSFILE names another file or it is empty.

    libpq refuses a file whose group may read it, which a credential is where systemd shows it by an access
    list; so it gets a copy in memory that nobody else can open.
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
