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

_OUR_FILES = "/proc/self/fd/"

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

    Called again, it takes the credential as systemd gives it by then; libpq reads it for each connection.

    libpq refuses a file whose group may read it, and a credential is one if systemd shows it by an access
    list; so libpq gets a copy in memory that nobody else can open.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory, PASSWORD_FILE) if directory else None
    named = environ.get("PGPASSFILE")
    is_ours = named is not None and named.startswith(_OUR_FILES)
    if credential is None or (named is not None and not is_ours) or not credential.exists():
        return
    content = credential.read_bytes()
    if not any(line.strip() and not line.startswith(b"#") for line in content.splitlines()):
        return
    with open_memory(content) as file:
        os.fchmod(file.fileno(), 0o600)
        if named is not None:
            # In one step: a connection that is being made finds the old content or the new one.
            os.dup2(file.fileno(), int(named.removeprefix(_OUR_FILES)), inheritable=False)
        else:
            environ["PGPASSFILE"] = f"{_OUR_FILES}{os.dup(file.fileno())}"
