"""The hosts of a fleet on one database, and what befalls them, with the times at which it did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import optuna
import psycopg2

from tests.acceptance.daemon import Daemon
from tests.acceptance.forked import Forked
from tests.fleet.ledger import moment_of, now
from tests.waiting import until

INTERVAL_SECONDS = 0.5
EXPIRE_SECONDS = 5.0

#: A host's counter may have stood still for a beat or two when a freeze begins.
DEADLY_SECONDS = EXPIRE_SECONDS - 2 * INTERVAL_SECONDS

#: A process that was forked just before its daemon was killed writes its first line just after.
FORK_SECONDS = 0.5


@dataclass(slots=True, kw_only=True)
class Freeze:
    """A time in which a host's daemon did not run, though it lived."""

    began: float
    ended: float | None = None
    #: It ended with the daemon's end.
    was_killed: bool = False

    def covers(self, at: float) -> bool:
        return self.began <= at and (self.ended is None or at <= self.ended)

    def seconds_until(self, at: float) -> float:
        return (at if self.ended is None else min(at, self.ended)) - self.began


class FleetHost(Daemon):
    """One host, and the record of what befell it."""

    interval, expire = f"{INTERVAL_SECONDS}s", f"{EXPIRE_SECONDS}s"

    def __init__(self, home: Path, *, storage: str, slots: int = 4) -> None:
        self.stops: list[float] = []
        self.freezes: list[Freeze] = []
        #: The times without a daemon while the keeper went on.
        self.absences: list[Freeze] = []
        #: When daemons were started, and when they executed themselves anew.
        self.launches: list[float] = []
        self.restarts: list[float] = []
        #: By the clock of files.
        self.launched_at = 0.0
        self._joined_before = 0
        #: How much of the log was read for requests of other hosts.
        self._read = 0
        self._is_told_to_end = False
        self.name = home.name
        #: Killed or told to stop, and not started since.
        self.is_stopped = True
        super().__init__(home, storage=storage, slots=slots, host=home.name)

    def until_answering(self) -> None:
        until(self._answers, what="the daemon to answer", seconds=60)

    @property
    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def is_frozen(self) -> bool:
        return bool(self.freezes) and self.freezes[-1].ended is None

    def launch(self, *options: str) -> subprocess.Popen[bytes] | Forked:
        self.is_stopped = self._is_told_to_end = False
        self.launches.append(now())
        self.launched_at = time.time()
        return super().launch(*options)

    def note_told(self) -> bool:
        """Reads what other hosts told it; True if its daemon is about to end for that."""
        with self.log.open("rb") as log:
            log.seek(self._read)
            lines = log.readlines()
        is_told = False
        for line in lines:
            if not line.endswith(b"\n"):
                break
            self._read += len(line)
            record = json.loads(line) if line.startswith(b"{") else {"event": ""}
            if record["event"] == "request of another host" and record["command"] != "restart":
                is_told = self._is_told_to_end = True
                self._note_command(record["command"], moment_of(record["timestamp"]))
            elif record["event"] == "host restarts":
                self.restarts.append(moment_of(record["timestamp"]))
                self._note_absence(self.restarts[-1])
                self._joined_before = self.log.read_bytes()[: self._read].count(b'"host joined"')
        return is_told

    def _note_command(self, command: str, at: float) -> None:
        self.is_stopped = True
        if command == "abort":
            self.stops.append(at)

    def note_end(self) -> None:
        """Its daemon has ended. If it was told to by another host, it is away from now on."""
        if self._is_told_to_end:
            self._note_absence(now())
            self._joined_before = self._joined()

    def _note_absence(self, began: float) -> None:
        if not self.is_absent:
            self.absences.append(Freeze(began=began))

    def until_crashed(self) -> int:
        """Until it has ended by itself; its exit status."""
        status = self.wait(60)
        self.note_stop()
        return status

    def kill(self) -> None:
        self.note_stop()
        super().kill()

    def kill_alone(self) -> None:
        """The daemon: its keeper and its trials go on."""
        self.is_stopped = True
        began = now()
        if self.is_frozen:
            # It was silent before.
            self.freezes[-1].ended, began = began, self.freezes[-1].began
        self._note_absence(began)
        self._joined_before = self._joined()
        self.crash()
        self._go_on()

    def kill_keeper(self) -> bool:
        """Its trials die with it; False if there is none."""
        keepers = self.keepers()
        if keepers:
            self.stops.append(now())
        for pid in keepers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(keepers)

    def freeze_keeper(self) -> bool:
        """Until ``thaw_keeper``; False if there is none."""
        return self._signal_keepers(signal.SIGSTOP)

    def thaw_keeper(self) -> None:
        self._signal_keepers(signal.SIGCONT)

    def _signal_keepers(self, number: signal.Signals) -> bool:
        keepers = self.keepers()
        for pid in keepers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return bool(keepers)

    @property
    def is_absent(self) -> bool:
        return bool(self.absences) and self.absences[-1].ended is None

    def note_return(self) -> None:
        """Looks whether the next daemon has joined the fleet."""
        if self.is_absent and self.is_up and self._joined() > self._joined_before:
            self.absences[-1].ended = now()

    def _joined(self) -> int:
        return self.log.read_bytes().count(b'"host joined"') if self.log.exists() else 0

    def terminate(self) -> None:
        """Asks it to stop, and does not wait."""
        self.note_stop()
        self.signal(signal.SIGTERM)

    def freeze(self, *, whole: bool = False) -> None:
        """Stops the daemon, or all of the host's processes."""
        self.freezes.append(Freeze(began=now()))
        for pid in self.processes() if whole else {self.pid}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        self._go_on()
        self.freezes[-1].ended = now()

    def _go_on(self) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def was_stopped(self, since: float, until: float) -> bool:
        """Its daemon was killed or told to stop meanwhile."""
        return any(since - FORK_SECONDS <= at <= until for at in self.stops)

    def might_be_dead(self, since: float, until: float) -> bool:
        """Whether others could rightly take what it began at ``since`` for an orphan before ``until``."""
        return self.was_stopped(since, until) or any(
            freeze.began <= until
            and (freeze.ended is None or since <= freeze.ended)
            and freeze.seconds_until(until) >= DEADLY_SECONDS
            for freeze in (*self.freezes, *self.absences)
        )

    def note_stop(self) -> None:
        """It is about to be killed, or told to stop."""
        self.is_stopped = True
        at = now()
        self.stops.append(at)
        if self.is_frozen:
            self.freezes[-1].ended = at
            self.freezes[-1].was_killed = True


class Fleet:
    """Some hosts on one database; leaves no process behind."""

    def __init__(self, home: Path, storage: str) -> None:
        self.storage = storage
        self.hosts: list[FleetHost] = []
        self._home = home

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.close()

    def add(self, count: int, *, slots: int = 2) -> list[FleetHost]:
        """Hosts that are not started yet."""
        names = [f"h{len(self.hosts) + n}" for n in range(count)]
        added = [FleetHost(self._home / name, storage=self.storage, slots=slots) for name in names]
        self.hosts += added
        return added

    def start(self, count: int, *, slots: int = 2) -> list[FleetHost]:
        """Hosts that answer."""
        added = self.add(count, slots=slots)
        for host in added:
            host.launch()
        for host in added:
            host.until_answering()
        return added

    def drop(self, name: str, text: str) -> None:
        """On every host."""
        for host in self.hosts:
            host.drop(name, text)

    def until_done(self, name: str) -> None:
        for host in self.hosts:
            host.until_in("done", name, seconds=90)

    def study(self, name: str) -> optuna.Study:
        return optuna.load_study(study_name=name, storage=self.storage)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        return query(self.storage, statement)


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Asks the database, outside of any transaction."""
    connection = connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def claims_of(url: str, study: str) -> dict[str, int]:
    """The number of the trial of each claim of a study."""
    return dict(
        query(
            url,
            "SELECT claim_id, number FROM t_trial JOIN trials USING (trial_id) JOIN studies USING (study_id)"
            f" WHERE study_name = '{study}' AND claim_id IS NOT NULL",
        )
    )


def connect(url: str) -> Any:
    """A client of the database beside the fleet."""
    return psycopg2.connect(url.replace("+psycopg2", "", 1), connect_timeout=10)
