"""A real pgbouncer in transaction mode before a PostgreSQL server, from Debian's package of that name."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tests.postgres import _die_with_parent, _free_port, _unprivileged_owner
from tests.waiting import until

#: Debian puts it into /usr/sbin, which ordinary users do not search.
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

#: Fewer than one daemon holds, so that they have to be shared.
SERVER_CONNECTIONS = 3


@contextmanager
def pgbouncer(url: str) -> Iterator[str]:
    """The URL of the same database behind the pooler."""
    # Not below pytest's directories: it does not run as root, and could not enter them.
    with tempfile.TemporaryDirectory(prefix="tuned-pooler-") as home, _running(Path(home), url) as pooled:
        yield pooled


@contextmanager
def _running(home: Path, url: str) -> Iterator[str]:
    assert PROGRAM is not None, "pgbouncer is not installed"
    server, port, owner = make_url(url), _free_port(), _unprivileged_owner()
    config = home / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host={server.host} port={server.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\n"
    )
    home.chmod(0o755)
    process = subprocess.Popen(
        [PROGRAM, config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd="/", start_new_session=True, **owner,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 (one call of prctl, which takes no lock)
    )  # fmt: skip
    try:
        until(lambda: _answers(port), what="pgbouncer to answer", seconds=60)
        yield server.set(port=port).render_as_string()
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True
