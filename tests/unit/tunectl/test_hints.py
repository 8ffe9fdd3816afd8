"""Hints of ``tunectl try`` for a file that would run differently at the daemon."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from tuned.domain.ending import Cause, Ending, Failure
from tuned.experiment import experiment
from tuned.trial.reports import Reports
from tuned.tunectl import hints as hints_module

DONE = Ending(values=(1.0,))

SERVICE = hints_module.Surroundings(is_service=True, path=hints_module.SERVICE_PATH)

#: A daemon that the reader began in this terminal.
OWN = hints_module.Surroundings(is_service=False, path=None)


def hints(
    *command: str,
    ending: Ending = DONE,
    head: str = "",
    search: Path | None = None,
    daemon: hints_module.Surroundings = SERVICE,
    last_line: str = "",
    metric: dict[str, str] | None = None,
    **objective: object,
) -> str:
    keys = {"timeout": "1h", **({"command": list(command)} if command else {}), **objective}
    keys |= {"env.PATH": str(search)} if search else {}
    keys |= {f"metric.{key}": value for key, value in (metric or {}).items()}
    text = "\n".join(f"{key} = {_toml(value)}" for key, value in keys.items() if value is not None)
    content = f'{head}\n[objective]\n{text}\n[space.x]\ntype = "int"\nlow = 1\nhigh = 3\n'
    parsed = experiment.parse(content.encode(), "minima.toml")
    point = parsed.space.at(0)
    return "\n".join(hints_module.hints(parsed, point, ending, daemon=daemon, last_line=last_line))


def _toml(value: object) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own; what services do not see is left to the one test that is about it."""
    monkeypatch.setattr(hints_module, "_HIDDEN", ())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("objective", "head", "said"),
    [
        ({}, "", 'print a line such as {"step": 1, "value": 0.5} after each step, and flush it'),
        ({}, 'directions = ["minimize", "minimize"]', '{"step": 1, "values": [0.5, 0.5]} after each step'),
        (
            {"metric": {"pattern": "loss=(?P<value>.+)"}},
            "",
            "each match of [objective.metric] pattern is one",
        ),
        ({"python": "train:objective"}, "", "call trial.report(value, step) after each step"),
    ],
)
def test_a_pruner_without_a_report_is_told_how_to_make_one(
    objective: dict[str, object], head: str, said: str
) -> None:
    command = () if "python" in objective else ("true",)
    table = f'{head}\n[pruner]\nname = "median"'
    assert said in hints(*command, head=table, **objective)  # type: ignore[arg-type]
    reported = replace(DONE, intermediate={1: 0.5})
    assert said not in hints(*command, head=table, ending=reported, **objective)  # type: ignore[arg-type]


def test_nothing_is_said_of_what_runs_the_same_at_the_daemon() -> None:
    assert not hints("sh", "-c", "true")


def test_what_each_trial_may_use_is_not_limited_here() -> None:
    found = hints("sh", "-c", "true", head='[resources]\nmemory = "4G"\ngpus = 0.5')
    assert found.startswith("this ran without [resources] (memory 4G, gpus 0.5)")


def test_a_file_beside_the_reader_is_not_beside_the_trial(here: Path) -> None:
    assert f'workdir = "{here}"' in hints("sh", "train.py")
    assert f"write {here}/train.py" in hints("sh", "--config=train.py")
    assert not hints("sh", "train.py", workdir=str(here))


def test_a_program_that_only_the_reader_finds(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = here / "trainer"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(here), prepend=os.pathsep)
    assert f"write {program}" in hints("trainer")
    assert not hints("trainer", search=here)
    assert "is it installed?" in hints("no-such-program")


def test_a_program_that_is_another_one_at_the_daemon(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "sh").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(here), prepend=os.pathsep)
    assert f"sh is {here}/sh here, but " in hints("sh")


def test_a_place_that_services_do_not_see(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints_module, "_HIDDEN", (here,))
    assert "is hidden from the service" in hints("sh", f"{here}/train.py")


def test_nothing_is_hidden_from_a_daemon_that_is_no_service(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints_module, "_HIDDEN", (here,))
    assert not hints("sh", f"{here}/train.py", daemon=OWN)


def test_the_python_of_a_virtual_environment_is_another_one(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = here / "venv" / "bin"
    programs.mkdir(parents=True)
    (here / "venv" / "pyvenv.cfg").touch()
    (programs / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    assert f"sh is {programs}/sh here, but " in hints("sh")
    assert not hints("sh", daemon=replace(SERVICE, path=f"{programs}:/usr/bin"))


def test_a_place_that_the_daemons_user_may_not_enter(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Everybody has a user of this name, and it is neither root nor the one who runs the tests.
    monkeypatch.setattr(hints_module, "SERVICE_USER", "nobody")
    for directory in [here, *list(here.parents)[:3]]:
        directory.chmod(directory.stat().st_mode | stat.S_IXOTH | stat.S_IXGRP)
    private = here / "private"
    private.mkdir(mode=0o700)
    (private / "data").touch()
    assert f"user nobody may not enter {private}" in hints("sh", f"{private}/data")


def silent(message: str = "nothing") -> Ending:
    return Ending(failure=Failure(cause=Cause.NO_VALUE, message=message))


def test_how_a_value_is_given() -> None:
    assert "print the value as the last line" in hints("sh", ending=silent())
    assert not hints("sh", ending=silent("the value is NaN"))


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("accuracy: 0.97", "'accuracy: (?P<value>[-+.\\w]+)'"),
        ("epoch 3, val_loss=1e-05 (best)", "'val_loss=(?P<value>[-+.\\w]+)'"),
        ("score (test) | -7", "'| (?P<value>"),
        ("it's: 7", '"it\'s: (?P<value>[-+.\\\\w]+)"'),
    ],
)
def test_a_number_among_words_gets_the_pattern_that_finds_it(line: str, pattern: str) -> None:
    if pattern.startswith("'|"):
        assert "print the value as the last line" in hints("sh", ending=silent(), last_line=line)
    else:
        assert f"metric.pattern = {pattern}" in hints("sh", ending=silent(), last_line=line)


def test_how_several_values_are_given() -> None:
    found = hints("sh", ending=silent(), head='directions = ["minimize", "maximize"]')
    assert '{"values": [0.5, 1.5]}' in found


def test_the_pattern_to_write_is_shown_if_it_found_a_part_of_a_number() -> None:
    reports = Reports(1, metric := "acc=(?P<value>[0-9.]+)")
    reports.feed(b"acc=9.9e-01\n")
    failure = reports.finish()
    assert isinstance(failure, Failure)
    found = hints("sh", ending=Ending(failure=failure), metric={"pattern": metric})
    assert found == r"write pattern = 'acc=(?P<value>[-+.\w]+)'"


def test_where_a_pattern_is_looked_for() -> None:
    found = hints("sh", ending=silent(), metric={"pattern": "loss (?P<value>.*)"})
    assert "searched for in each line: loss (?P<value>.*)" in found


def test_a_program_beside_the_reader_is_not_beside_the_trial(here: Path) -> None:
    assert f"write {here}/train.py" in hints("./train.py")


@pytest.mark.parametrize("argument", ["|", ">out.txt", "2>&1", "&&", ";", "~/data", "$HOME/data"])
def test_a_command_has_no_shell(argument: str) -> None:
    assert f"there is no shell, {argument} is an argument" in hints("echo", argument)
    assert not hints("sh", "-c", f"echo {argument}")


def test_a_module_beside_the_reader_is_not_beside_the_trial(here: Path) -> None:
    assert f'set [objective] path = "{here}"' in hints(python="train:objective")
    assert not hints(python="train:objective", path=here)
    assert not hints(python="elsewhere:objective")


def test_a_timeout_is_proposed_to_what_works_without() -> None:
    assert "without [objective] timeout" in hints("sh", timeout=None)
    assert not hints("sh", timeout=None, ending=Ending(failure=Failure(cause=Cause.EXIT, message="x")))
