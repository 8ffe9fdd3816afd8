"""Hosts with tuned installed as a person would do it, and what tests ask them."""

from __future__ import annotations

import json
import shlex
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import optuna
import psycopg2

from tests.acceptance.daemon import an_experiment
from tests.postgres import PostgresServer
from tests.system.machine import Machine
from tests.waiting import until

#: Tests look for it in places that must not have it.
PASSWORD = f"sesame-{uuid.uuid4().hex}"

#: A trial that does not want to die: it ignores signals, has left its session, and its parent.
STUBBORN = (
    "(setsid sh -c 'trap : TERM INT HUP; (trap : TERM INT HUP; while :; do sleep 1000; done) & wait' &) ; "
    "sleep 1000"
)

#: Each point once, so that every trial is one evaluation.
GRID = '[sampler]\nname = "grid"\n'

DROP_IN = "/run/systemd/system/{}.service.d/test.conf"


class Host(Machine):
    """A machine with the package, an ordinary user (bob) and a member of the daemon's group (alice)."""

    def __init__(self, name: str, server: PostgresServer) -> None:
        super().__init__(name)
        self._server = server

    def install(self, deb: Path) -> None:
        self.until_up()
        shutil.copy(deb, self.path("/var/tmp/tuned.deb"))
        self.run("dpkg", "--install", "/var/tmp/tuned.deb")
        self.run("useradd", "--user-group", "bob")
        self.run("useradd", "--user-group", "--groups=tuned", "alice")
        self.write("/etc/tuned/pgpass", f"127.0.0.1:{self._server.port}:tuned:tuned:{PASSWORD}\n")
        self.configure()

    def install_newer(self, version: str) -> str:
        """The same package as another version of itself; returns what the installation says."""
        code = "usr/lib/tuned-hpo/lib/python3.*/site-packages/tuned"
        script = f"""
            cd /var/tmp && rm -rf newer && dpkg-deb --raw-extract tuned.deb newer
            sed -i 's/^Version: .*/Version: {version}/' newer/DEBIAN/control
            sed -i 's/^__version__ = .*/__version__ = "{version}"/' newer/{code}/__init__.py
            rm newer/{code}/__pycache__/__init__.*.pyc
            dpkg-deb --build -Znone newer newer.deb
            exec dpkg --install newer.deb
        """
        return self.run("sh", "-e", "-c", script).stdout

    def configure(self, *, slots: int = 2) -> None:
        storage = f"postgresql://tuned@127.0.0.1:{self._server.port}/tuned"
        self.write(
            "/etc/tuned/tuned.toml",
            f'storage = "{storage}"\nslots = {slots}\n[heartbeat]\ninterval = "0.5s"\nexpire = "60s"\n',
        )

    def write(self, path: str, text: str) -> None:
        self.run("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path}", stdin=text)

    def read(self, path: str) -> str:
        return self.path(path).read_text()

    @property
    def database_port(self) -> int:
        return self._server.port

    def override(self, *settings: str, unit: str = "tuned") -> None:
        """Settings of the unit, until ``restore``."""
        self.write(DROP_IN.format(unit), "[Service]\n" + "".join(f"{setting}\n" for setting in settings))
        self.run("systemctl", "daemon-reload")

    def ready(self) -> Self:
        self.run("systemctl", "start", "tuned")
        return self

    def restore(self) -> None:
        self.run("rm", "-f", DROP_IN.format("tuned"), DROP_IN.format("tuned-trials"))
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "stop", "tuned")
        self.run("sh", "-c", "rm -f /var/spool/tuned/active/*.toml")
        self.run("systemctl", "reset-failed", "tuned", is_checked=False)
        self.configure()

    # The daemon

    def property(self, name: str) -> str:
        return self.run("systemctl", "show", "--value", f"--property={name}", "tuned").stdout.strip()

    def is_active(self, unit: str = "tuned") -> str:
        return self.run("systemctl", "is-active", unit, is_checked=False).stdout.strip()

    def is_paused(self) -> bool:
        """Whether it waits before it is started again."""
        return self.property("SubState") == "start-pre"

    def main_pid(self, unit: str = "tuned") -> int:
        return int(self.run("systemctl", "show", "--value", "--property=MainPID", unit).stdout)

    def until_another_than(self, pid: int, unit: str = "tuned") -> None:
        """Waits until another process is the unit's, and ready."""
        until(lambda: self.main_pid(unit) not in {0, pid}, what=f"another {unit}\n{self.log()}", seconds=60)
        until(lambda: self.is_active(unit) == "active", what=f"{unit}\n{self.log()}", seconds=60)

    def children_of_keeper(self) -> set[int]:
        """The trials among them, in the host's eyes."""
        keeper = self.main_pid("tuned-trials")
        children = self.path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        return {int(pid) for pid in children if "sleep" in self._command(int(pid))}

    def _command(self, pid: int) -> str:
        try:
            return self.path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            return ""

    def tunectl(self, *arguments: str, user: str = "root") -> str:
        return self.run("tunectl", *arguments, user=user).stdout

    def drop(self, name: str, text: str, user: str = "alice", hosts: str = "here") -> None:
        """As a member does it: to a name that is not looked at, then renamed. Other hosts leave it alone."""
        place = f"/var/spool/tuned/.{name}.tmp"
        script = f"cat > {place} && mv {place} /var/spool/tuned/{name}.toml"
        self.run("sh", "-c", script, user=user, stdin=f'{text}\n[fleet]\nhosts = "{hosts}"\n')

    def until_running(self, trials: int) -> None:
        def running() -> int:
            slots = json.loads(self.tunectl("status", "--json"))["slots"]
            return sum(slot["running"] is not None for slot in slots)

        until(lambda: running() == trials, what=f"{trials} trials on {self.name}\n{self.log()}", seconds=60)

    def until_in(self, place: str, name: str) -> None:
        file = f"/var/spool/tuned/{place}/{name}.toml"
        until(self.path(file).exists, what=f"{file} on {self.name}\n{self.log()}", seconds=60)

    def log(self) -> str:
        units = ("--unit=tuned", "--unit=tuned-trials", "--unit=tuned-settle")
        return self.run("journalctl", *units, "--lines=60", "--output=cat").stdout

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        found = self.run("journalctl", "--output=json", "--all", *matches).stdout
        return [json.loads(line) for line in found.splitlines()]

    def trial_processes(self) -> list[str]:
        """The command lines of the trials' processes."""
        return [line for pid in self.processes() if "sleep\x001000" in (line := _command_line(pid))]


@dataclass(frozen=True, slots=True)
class Fleet:
    alpha: Host
    beta: Host
    server: PostgresServer

    def study(self, name: str) -> optuna.Study:
        return optuna.load_study(study_name=name, storage=self.server.url("tuned"))

    def states(self, name: str) -> list[str]:
        return [trial.state.name for trial in self.study(name).get_trials(deepcopy=False)]

    def states_or_none(self, name: str) -> list[str]:
        """No state while the study is not there yet."""
        try:
            return self.states(name)
        except KeyError:
            return []

    def causes(self, name: str) -> list[str]:
        trials = self.study(name).get_trials(deepcopy=False)
        return [t.user_attrs["FAILURE"]["cause"] for t in trials if "FAILURE" in t.user_attrs]

    def hosts(self, name: str) -> set[str]:
        trials = self.study(name).get_trials(deepcopy=False)
        return {trial.user_attrs["HOST"]["host"] for trial in trials}


def open_database(server: PostgresServer) -> None:
    """A database of the role tuned, who needs a password over TCP."""
    connection = psycopg2.connect(server.url().replace("+psycopg2", ""))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE tuned LOGIN PASSWORD %s", [PASSWORD])
        cursor.execute("CREATE DATABASE tuned OWNER tuned")
    rules = server.home / "data" / "pg_hba.conf"
    rules.write_text(f"host all tuned 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_reload_conf()")
    connection.close()


def stubborn(high: int = 50) -> str:
    return an_experiment(STUBBORN, high=high, more=GRID)


def sleeping(file: str, high: int = 50) -> str:
    """Trials that end when the file is there."""
    return an_experiment(f"while ! [ -e {shlex.quote(file)} ]; do sleep 0.2; done", high=high, more=GRID)


def _command_line(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_text()
    except OSError:
        return ""
