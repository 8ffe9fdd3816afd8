"""The state directory: the lock and the id that make this daemon one installation.

The id tells the fleet which trials are our own old incarnation's. So it must never be given to two daemons: a
second daemon on the directory is refused, and on another machine (a cloned disk) it is replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from tuned.disk import files
from tuned.disk.layout import Layout
from tuned.errors import Conflict, InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()

MACHINE_ID = Path("/etc/machine-id")

_INSTALLATION_ID = re.compile(r"[0-9a-f]{32}")

_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDirectory(Layout):
    """The directory while it is ours; ``open`` is the only way to get one."""

    #: 32 hexadecimal digits, the same for every daemon that ever ran on this directory on this machine.
    installation_id: str

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, path: Path, *, machine_id: Path = MACHINE_ID, has_trials: bool = True
    ) -> Iterator[StateDirectory]:
        """Creates what is missing, holds the lock. Raises Conflict if another daemon has it, InvalidInput.

        Files of trials may lie elsewhere.
        """
        with contextlib.ExitStack() as held:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                files.make_directory(path, 0o700)
                files.require_directory(path, closed_to=stat.S_IWOTH)
                held.enter_context(_locked(path))
                directory = cls(
                    path=path.resolve(),
                    installation_id=_installation_id(path / "installation.json", machine_id),
                )
                of_trials = directory.trials, directory.points, directory.code, directory.keeper
                for part in (directory.outbox, *(of_trials if has_trials else ())):
                    files.make_directory(part, 0o700)
            except OSError as error:
                raise _unusable(path, error) from error
            yield directory


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path / "lock", flags, 0o600), "r+") as file:
        if not files.lock(file.fileno()):
            claimant = file.read(20).strip() or "unknown"
            raise Conflict(
                f"cannot use state directory {path}: another daemon has it (pid {claimant}); stop that one, "
                "or give this one a directory of its own (--state-dir)"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _installation_id(path: Path, machine_id: Path) -> str:
    machine = _machine(machine_id)
    if not os.path.lexists(path):
        return _new_installation_id(path, machine)
    installation_id, known_machine = _read(path)
    if machine == known_machine:
        return installation_id
    successor = _new_installation_id(path, machine)
    _log.warning(
        "state directory comes from another machine",
        old_installation_id=installation_id,
        installation_id=successor,
    )
    return successor


def _new_installation_id(path: Path, machine: str) -> str:
    installation_id = uuid.uuid4().hex
    content = json.dumps({"installation_id": installation_id, "machine": machine})
    files.write(path, content.encode() + b"\n", mode=0o600)
    return installation_id


def _machine(machine_id: Path) -> str:
    """A digest, since machine-id(5) asks not to show the id itself; empty if there is none."""
    try:
        text = machine_id.read_bytes().strip()
    except FileNotFoundError:
        return ""
    return hashlib.blake2b(text, key=b"tuned", digest_size=16).hexdigest() if text else ""


def _read(path: Path) -> tuple[str, str]:
    # A new id in place of a lost one would leave our old trials to the other hosts: a person shall decide.
    try:
        with files.open_regular(path, _MOST_BYTES) as file:
            record: Any = json.loads(file.read())
    except (files.Unfit, ValueError) as error:
        raise _corrupt(path, str(error)) from None
    if isinstance(record, dict):
        installation_id, machine = record.get("installation_id"), record.get("machine")
        if (
            isinstance(installation_id, str)
            and isinstance(machine, str)
            and _INSTALLATION_ID.fullmatch(installation_id)
        ):
            return installation_id, machine
    raise _corrupt(path, "other JSON than expected")


def _corrupt(path: Path, found: str) -> InvalidInput:
    expected = (
        '{"installation_id": "32 hexadecimal digits", "machine": "..."}; bring it back from a backup, or '
        "remove it: the daemon is then a new installation, and what the old one left running is settled when "
        "that expires"
    )
    return InvalidInput(Problem(file=str(path), key="", found=found, expected=expected))


def _unusable(path: Path, error: OSError) -> InvalidInput:
    expected = "a directory that the daemon's user may read and write, on a disk with room"
    found = error.strerror or str(error)
    return InvalidInput(Problem(file=str(error.filename or path), key="", found=found, expected=expected))
