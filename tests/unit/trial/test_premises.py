"""Whether a host has the directories and the program of an experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.experiment.experiment import Experiment, parse
from tuned.trial.launch import missing
from tuned.trial.programs import premise

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def with_objective(keys: str) -> Experiment:
    text = f'[objective]\n{keys}\n[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n'
    return parse(text.encode(), "exp.toml")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('command = ["no-such-program"]', "cannot run 'no-such-program': not found in PATH (/usr/bin:/bin)"),
        ('command = ["/no/such"]', "cannot run '/no/such': there is no such file"),
        (
            'command = ["sh"]\nworkdir = "{here}/none"',
            "cannot run in {here}/none: there is no such directory",
        ),
        ('command = ["{{x}}"]\nworkdir = "{here}/none"', "cannot run in {here}/none: there is no such"),
        ('command = ["./none.sh"]\nworkdir = "{here}"', "cannot run './none.sh': there is no such file"),
        (
            'python = "m:f"\npath = "{here}/none"',
            "cannot import from {here}/none: there is no such directory",
        ),
        ('python = "m:f"\nworkdir = "{here}/none"', "cannot run in {here}/none: there is no such directory"),
    ],
)
def test_the_missing_part_is_named(tmp_path: Path, keys: str, problem: str) -> None:
    keys = keys.replace("{here}", str(tmp_path)).replace("{{", "{").replace("}}", "}")
    found = missing(premise(with_objective(keys), ENVIRONMENT))
    assert found.startswith(problem.replace("{here}", str(tmp_path)))


@pytest.mark.parametrize(
    "keys",
    [
        'command = ["sh"]',
        'command = ["/bin/sh"]\nworkdir = "{here}"',
        # Which program it is depends on the point, or on the directory of the trial.
        'command = ["{x}"]',
        'command = ["./train.sh"]',
        'python = "m:f"\npath = "{here}"',
    ],
)
def test_nothing_is_missing_of_what_can_be_looked_for(tmp_path: Path, keys: str) -> None:
    found = premise(with_objective(keys.replace("{here}", str(tmp_path))), ENVIRONMENT)
    assert missing(found) == ""
