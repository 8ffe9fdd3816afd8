"""The real daemon as a process of its own, and what a person does with it: drop files, ask, signal, look.

No test leaves a process: the daemon and all it started carry a mark in their environment, and ``close`` kills
every process that still has it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import optuna

from tests.acceptance.forked import Forked, Program, abort_with_parent, fork, plain_environment
from tests.plain_user import as_user
from tests.waiting import PATIENCE_SECONDS, until
from tuned.errors import TunedError
from tuned.protocol.events import Event
from tuned.protocol.experiments import ExperimentSummary, ExperimentView
from tuned.protocol.host import Status
from tuned.protocol.trials import TrialsView, TrialView
from tuned.tunectl.client import Client

#: In the environment of the daemon, and so of all that descends from it.
MARK = "TEST_DAEMON"


class Daemon:
    """One host below ``home``: its directories outlive its processes, of which there is one at a time."""

    interval, expire = "0.2s", "5s"

    def __init__(
        self,
        home: Path,
        *,
        storage: str | None = None,
        slots: int = 2,
        host: str = "alpha",
        user: int | None = None,
    ) -> None:
        self.home = home
        self.spool, self.state, self.socket = home / "spool", home / "state", home / "sock"
        self.config, self.log = home / "tuned.toml", home / "daemon.log"
        self.storage = storage or f"sqlite:///{self.state / 'tuned.db'}"
        self.user = user
        #: By an interpreter of its own, for tests of the start; else forked, without the imports.
        self.is_begun_anew = user is not None
        #: The module that is run.
        self.module = "tuned"
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | Forked | None = None
        home.mkdir(parents=True, exist_ok=True)
        self.spool.mkdir(mode=0o700, exist_ok=True)
        self.configure(slots=slots, host=host)
        if user is not None:
            for path in (home, self.spool, self.config):
                os.chown(path, user, user)

    def configure(self, *, slots: int, host: str = "alpha", grace: str = "0", expire: str = "") -> None:
        self.config.write_text(
            f'slots = {slots}\nhost = "{host}"\nstorage = "{self.storage}"\n'
            f'[heartbeat]\ninterval = "{self.interval}"\nexpire = "{expire or self.expire}"\n'
            f'[stop]\ngrace = "{grace}"\n'
        )

    # The process

    def start(self) -> Self:
        """Returns when it answers."""
        self.launch()
        until(self._answers, what="the daemon to answer", seconds=60)
        return self

    def until_joined(self) -> None:
        """Until it has found the database, made its tables, and is a host of the fleet."""

        def has_joined() -> bool:
            joined = False
            for record in self.logged():
                # Each start says that it runs before it has joined.
                is_start = record["event"] == "host state" and record["state"] == "running"
                joined = not is_start and (joined or record["event"] == "host joined")
            return joined

        until(has_joined, what="the daemon to join the fleet", seconds=60)

    def launch(self, *options: str) -> subprocess.Popen[bytes] | Forked:
        """Only starts the process."""
        program = Program(
            module=self.module, arguments=[*self._arguments(), *options],
            environment={**plain_environment(), MARK: str(self.home), **self.environment},
            directory=str(self.home), log=str(self.log),
        )  # fmt: skip
        self.process = self._begin(program) if options or self.is_begun_anew else fork(program)
        return self.process

    def _arguments(self) -> list[str]:
        places = {
            "--config": self.config, "--spool": self.spool, "--state-dir": self.state,
            "--socket": self.socket, "--log-format": "json",
        }  # fmt: skip
        return [text for option, place in places.items() for text in (option, str(place))]

    def _python(self) -> str:
        """Another user's may lie in a directory that is closed to our user, and to all that it starts."""
        if self.user is None:
            return sys.executable
        copy = self.home / "python"
        if not copy.exists():
            (copy / "bin").mkdir(parents=True)
            shutil.copy(os.path.realpath(sys.executable), copy / "bin" / "python")
            shutil.copy(Path(sys.prefix) / "pyvenv.cfg", copy)
            (copy / "lib").symlink_to(Path(sys.prefix) / "lib")
        return str(copy / "bin" / "python")

    def _begin(self, program: Program) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*_as_user(self.user), self._python(), "-m", program.module, *program.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home, env=program.environment,
                start_new_session=True,
                preexec_fn=abort_with_parent,  # noqa: PLW1509 (one call of prctl, which takes no lock)
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Until the process has ended; its exit status."""
        assert self.process is not None
        return self.process.wait(seconds)

    def abort(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def crash(self) -> None:
        """Kills the daemon alone: its trials run on."""
        self.signal(signal.SIGKILL)
        self.wait()

    def kill(self) -> None:
        """Kills the daemon and its keeper, as when their service or their machine dies."""
        keepers = self.keepers()
        self.crash()
        for pid in keepers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Leaves no process, whatever happened before."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.wait()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def processes(self) -> set[int]:
        """The living ones of the daemon and of all it ever started."""
        mark = f"{MARK}={self.home}".encode()
        found = {pid for pid in all_processes() if mark in environment_of(pid)}
        # A forked daemon has its environment, and gives it to its children, but does not show it.
        return found | ({self.pid} if self.process is not None and is_alive(self.pid) else set())

    def trial_processes(self) -> set[int]:
        return self.processes() - {self.pid} - self.keepers()

    def keepers(self) -> set[int]:
        """The living ones: one while the daemon runs."""
        return {pid for pid in self.processes() if b"tuned.keeper.main" in command_of(pid)}

    # Files

    def drop(self, name: str, text: str) -> None:
        """As docs/reference/spool.md tells scripts to do it."""
        scratch = self.spool / f".{name}.tmp"
        scratch.write_text(text)
        if self.user is not None:
            os.chown(scratch, self.user, self.user)
        scratch.rename(self.spool / f"{name}.toml")

    def place_of(self, name: str) -> str:
        """The directory of the spool that has the file; empty for none."""
        places = ("active", "done", "cancelled", "rejected", ".")
        return next((place for place in places if (self.spool / place / f"{name}.toml").exists()), "")

    def until_in(self, place: str, name: str, seconds: float = 60) -> None:
        until(
            lambda: self.place_of(name) == place,
            what=lambda: (
                f"{name}.toml to be in {place}/, it is in {self.place_of(name)!r}; log:\n{self.log_tail()}"
            ),
            seconds=seconds,
        )

    def run(self, name: str, text: str, seconds: float = 60) -> ExperimentSummary:
        """Drops an experiment and waits until it is done."""
        self.drop(name, text)
        self.until_in("done", name, seconds)
        return self.summary(name)

    def rejection(self, name: str) -> str:
        # A host that took another host's file over may have it in done/ too.
        told = self.spool / "rejected" / f"{name}.toml.error"
        until(told.exists, what=lambda: f"{name} to be rejected; log:\n{self.log_tail()}", seconds=60)
        until(lambda: not (self.spool / f"{name}.toml").exists(), what="the file to be moved")
        return told.read_text()

    def count_file(self, name: str) -> Path:
        return self.home / f"{name}.count"

    def evaluations(self, name: str) -> Counter[str]:
        """How often each point was evaluated, as the trial command itself wrote it down."""
        file = self.count_file(name)
        return Counter(file.read_text().split("\n")[:-1] if file.exists() else [])

    def logged(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    # The socket

    @property
    def client(self) -> Client:
        return Client([self.socket])

    def status(self) -> Status:
        return self.client.get("/v1/status", Status)

    def summary(self, name: str) -> ExperimentSummary:
        return self.client.get(f"/v1/experiments/{name}", ExperimentView)["summary"]

    def trials(self, name: str) -> list[TrialView]:
        """Oldest first."""
        return self.client.get(f"/v1/experiments/{name}/trials", TrialsView, limit=1000)["trials"][::-1]

    def study(self, name: str) -> optuna.Study:
        """As any Optuna script sees it."""
        return optuna.load_study(study_name=name, storage=self.storage)

    def running(self) -> int:
        return sum(slot["running"] is not None for slot in self.status()["slots"])

    def until_running(self, trials: int) -> None:
        until(
            lambda: self.running() == trials, what=lambda: f"{trials} trials to run; log:\n{self.log_tail()}"
        )

    def until_state(self, state: str) -> None:
        until(lambda: self.status()["state"] == state, what=f"the host to be {state}")

    def watching(self) -> Iterator[Event]:
        """The events from now on; the stream ends after a time in which a test should be over."""
        stream = self.client.events(within_seconds=60)
        assert next(stream)["event"] == "snapshot"
        return stream

    def tunectl(
        self, *arguments: str, stdin: str = "", user: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_as_user(user), *TUNECTL, "--socket", str(self.socket), *arguments], input=stdin,
            capture_output=True, text=True, check=False, timeout=60, env=plain_environment(), cwd="/",
        )  # fmt: skip

    def tunectl_started(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*TUNECTL, "--socket", str(self.socket), *arguments], stdout=subprocess.PIPE, text=True,
            env={**plain_environment(), MARK: str(self.home)}, cwd="/",
        )  # fmt: skip

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log_tail()}")
        try:
            return self.status()["state"] != "starting"
        except TunedError:
            return False


TUNECTL = [sys.executable, "-c", "from tuned.tunectl.main import main; main()"]


def an_experiment(
    script: str = "true",
    *,
    low: int = 0,
    high: int = 9,
    more: str = "",
    count: Path | None = None,
    value: str = "$TUNED_PARAM_X",
) -> str:
    """A file with one integer; the script is run by sh, counted when it begins, and then prints a value."""
    counted = "" if count is None else f'echo "$TUNED_PARAM_X" >> {count}; '
    printed = f"{counted}{script}; echo {value}"
    return (
        f'direction = "minimize"\n[objective]\ncommand = ["sh", "-c", {json.dumps(printed)}]\n'
        f'[space.x]\ntype = "int"\nlow = {low}\nhigh = {high}\n{more}'
    )


def checked(text: str) -> str:
    """The text, if it is TOML: a test must not pass because its file is wrong."""
    tomllib.loads(text)
    return text


def first(stream: Iterator[Event], name: str, **fields: object) -> Event:
    """The next event of this name and with these fields."""
    for event in stream:
        if event["event"] == name and fields.items() <= event.items():
            return event
    raise AssertionError(f"the stream ended without {name} {fields}")


def all_processes() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())


def environment_of(pid: int) -> list[bytes]:
    """Empty for a zombie and for a process that is gone."""
    with suppress(OSError):
        return Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    return []


def command_of(pid: int) -> list[bytes]:
    """Empty for a zombie and for a process that is gone."""
    with suppress(OSError):
        return Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
    return []


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def resident_megabytes(pid: int) -> float:
    lines = Path("/proc", str(pid), "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def gone(find: Callable[[], set[int]]) -> Callable[[], bool]:
    return lambda: not find()


def _as_user(user: int | None) -> list[str]:
    """It ends with this process."""
    return as_user(user, "--pdeathsig=TERM")
