"""The state directory: one daemon, one installation."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tuned.disk.state import StateDirectory
from tuned.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "var" / "state"


@pytest.fixture
def machine_id(tmp_path: Path) -> Path:
    path = tmp_path / "machine-id"
    path.write_text("3d1219c7c4c5404aaa1f6d2a48adfda4\n")
    return path


def test_the_directory_is_made_private_with_its_parts(state: Path) -> None:
    with StateDirectory.open(state) as directory:
        parts = (directory.path, directory.outbox, directory.trials, directory.points)
        assert [stat.S_IMODE(part.stat().st_mode) for part in parts] == [0o700] * 4


def test_the_installation_outlives_the_daemon(state: Path, machine_id: Path) -> None:
    installations = set()
    for _ in range(3):
        with StateDirectory.open(state, machine_id=machine_id) as directory:
            installations.add(directory.installation_id)
    assert len(installations) == 1
    assert len(installations.pop()) == 32


def test_a_second_daemon_is_refused_and_told_whose_it_is(state: Path) -> None:
    code = (
        "import pathlib, sys; from tuned.disk.state import StateDirectory\n"
        "with StateDirectory.open(pathlib.Path(sys.argv[1])): print('mine', flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout
        assert first.stdout.readline() == "mine\n"
        with pytest.raises(Conflict, match=rf"pid {first.pid}\b"), StateDirectory.open(state):
            pass
        first.kill()
    with StateDirectory.open(state):
        assert (state / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_does_not_leak_to_programs_that_the_daemon_starts(state: Path) -> None:
    with StateDirectory.open(state):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    with child, StateDirectory.open(state):
        child.communicate()


def test_a_cloned_disk_is_a_new_installation(state: Path, machine_id: Path) -> None:
    with StateDirectory.open(state, machine_id=machine_id) as directory:
        original = directory.installation_id
    machine_id.write_text("another\n")
    with StateDirectory.open(state, machine_id=machine_id) as directory:
        clone = directory.installation_id
    with StateDirectory.open(state, machine_id=machine_id) as directory:
        assert directory.installation_id == clone != original


def test_a_host_without_machine_id_keeps_its_installation_id(state: Path, tmp_path: Path) -> None:
    with StateDirectory.open(state, machine_id=tmp_path / "none") as first:
        pass
    with StateDirectory.open(state, machine_id=tmp_path / "none") as second:
        assert first.installation_id == second.installation_id


def test_the_machine_id_itself_is_not_stored(state: Path, machine_id: Path) -> None:
    with StateDirectory.open(state, machine_id=machine_id):
        assert machine_id.read_text().strip() not in (state / "installation.json").read_text()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"installation_id": "x", "machine": ""}',
        json.dumps({"installation_id": "0" * 32}),
        "{}" * 9999,
    ],
)
def test_a_corrupt_installation_file_is_refused_with_what_to_do(state: Path, content: str) -> None:
    state.mkdir(parents=True)
    (state / "installation.json").write_text(content)
    with (
        pytest.raises(InvalidInput, match=r"installation\.json: found .* remove it"),
        StateDirectory.open(state),
    ):
        pass
    assert (state / "installation.json").read_text() == content


def test_a_directory_that_any_user_may_write_to_is_refused(state: Path) -> None:
    state.mkdir(parents=True)
    state.chmod(0o777)
    with pytest.raises(InvalidInput, match="chmod o-w"), StateDirectory.open(state):
        pass


def test_an_error_in_the_block_is_not_taken_for_one_of_the_directory(state: Path) -> None:
    with pytest.raises(FileNotFoundError), StateDirectory.open(state):
        raise FileNotFoundError("something of the caller's")
