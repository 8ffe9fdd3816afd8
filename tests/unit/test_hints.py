"""What ``tunectl try`` says of a file that would run differently at the daemon."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tuned import experiment, tunectl_try
from tuned.states import Cause, Ending, Failure

DONE = Ending(values=(1.0,))


def hints(*command: str, ending: Ending = DONE, path: Path | None = None, **objective: object) -> str:
    keys = {"command": list(command), "timeout": "1h", **objective}
    keys |= {"env.PATH": str(path)} if path else {}
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    content = f'[objective]\n{text}\n[space.x]\ntype = "int"\nlow = 1\nhigh = 3\n'
    parsed = experiment.parse(content.encode(), "minima.toml")
    return "\n".join(tunectl_try.hints(parsed, parsed.space.at(0), ending))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own; what services do not see is left to the one test that is about it."""
    monkeypatch.setattr(tunectl_try, "_HIDDEN", ())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    return tmp_path


def test_nothing_is_said_of_what_runs_the_same_at_the_daemon() -> None:
    assert not hints("sh", "-c", "true")


def test_a_file_beside_the_reader_is_not_beside_the_trial(here: Path) -> None:
    assert f'workdir = "{here}"' in hints("sh", "train.py")
    assert f"write {here}/train.py" in hints("sh", "--config=train.py")
    assert not hints("sh", "train.py", workdir=str(here))


def test_a_program_that_only_the_reader_finds(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = here / "trainer"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(here), prepend=os.pathsep)
    assert f"write {program}" in hints("trainer")
    assert not hints("trainer", path=here)
    assert "is it installed?" in hints("no-such-program")


def test_a_program_that_is_another_one_at_the_daemon(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "sh").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(here), prepend=os.pathsep)
    assert f"sh is {here}/sh here, but " in hints("sh")


def test_a_place_that_services_do_not_see(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunectl_try, "_HIDDEN", (here,))
    assert "is hidden from the service" in hints("sh", f"{here}/train.py")


def test_a_path_that_is_not_there() -> None:
    assert "there is no /no/such/file" in hints("sh", "/no/such/file")


def test_a_place_that_the_daemons_user_may_not_enter(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Everybody has a user of this name, and it is neither root nor the one who runs the tests.
    monkeypatch.setattr(tunectl_try, "SERVICE_USER", "nobody")
    for directory in [here, *list(here.parents)[:3]]:
        directory.chmod(directory.stat().st_mode | stat.S_IXOTH | stat.S_IXGRP)
    private = here / "private"
    private.mkdir(mode=0o700)
    (private / "data").touch()
    assert f"user nobody may not enter {private}" in hints("sh", f"{private}/data")


def test_how_a_value_is_given() -> None:
    silent = Ending(failure=Failure(cause=Cause.NO_VALUE, message="nothing"))
    assert "print the value as the last line" in hints("sh", ending=silent)
