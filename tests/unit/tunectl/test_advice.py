"""Advice on files that are right, and may not be what their author means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuned.experiment.experiment import parse
from tuned.tunectl.advice import advice

SPACE = '[space.x]\ntype = "int"\nlow = 1\nhigh = 3\n'


def said(*command: str, head: str = 'direction = "minimize"', tail: str = "", last_line: str = "") -> str:
    document = f"{head}\n[objective]\ncommand = {json.dumps(command)}\n{tail}\n{SPACE}"
    parsed = parse(document.encode(), "minima.toml")
    keys = {key: "" for key in ("direction", "directions") if key in head}
    return "\n".join(
        f"{'warning' if is_warning else 'hint'}: {text}"
        for is_warning, text in advice(parsed, keys, last_line)
    )


def test_nothing_is_said_of_a_file_that_means_what_it_says() -> None:
    assert not said("sh", "-c", "echo {x}")


def test_a_program_that_is_not_there() -> None:
    assert (
        said("/no/such/program", "{x}")
        == "warning: objective.command: there is no /no/such/program on this host"
    )


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no /srv/no/train.py" in said("python3", "/srv/no/train.py", "{x}")
    assert f"there is no {tmp_path}/train.py" in said(
        "python3", "train.py", "{x}", tail=f'workdir = "{tmp_path}"'
    )
    assert not said("cp", "/dev/null", "/srv/no/output-{x}")


def test_a_directory_that_is_not_there() -> None:
    found = said("sh", "-c", "echo {x}", tail='workdir = "/srv/no"')
    assert found == "warning: objective.workdir: there is no directory /srv/no on this host"


def test_a_parameter_that_no_argument_names() -> None:
    assert "no argument names x: the program finds such values in TUNED_PARAM_X" in said("true")
    assert not said("sh", "-c", "echo $TUNED_PARAM_X")


@pytest.mark.parametrize("text", ["{x}", "$HOME/data", "${HOME}", "/srv/bin:$PATH", "~/data", "$(nproc)"])
def test_values_of_the_environment_are_taken_literally(text: str) -> None:
    assert "stays as it is, values of env are taken literally" in said(
        "sh", "-c", "echo {x}", tail=f'env.A = "{text}"'
    )


def test_a_parameter_in_the_environment_has_a_variable_of_its_own() -> None:
    assert "a trial finds this parameter in TUNED_PARAM_X" in said(
        "sh", "-c", "echo {x}", tail='env.LR = "{x}"'
    )


def test_a_program_in_a_home_is_no_word_for_a_shell() -> None:
    assert "~/train.sh stays as it is, because there is no shell" in said("~/train.sh", "{x}")


def test_a_command_is_an_array_and_keeps_its_braces() -> None:
    assert """not a line: ["python3", "train.py", "--x={x}"]""" in said("python3 train.py --x={x}")
    assert """with a shell, ["sh", "-c", "echo {x} | tee log"]""" in said("echo {x} | tee log")


@pytest.mark.parametrize("name", ["accuracy", "val_auc", "F1-score", "reward", "r2"])
def test_a_measure_that_is_usually_maximized(name: str) -> None:
    quiet = ("sh", "-c", "echo {x}")
    assert "is usually maximized, and minimize is the default" in said(*quiet, head=f'name = "{name}"')
    assert "is usually maximized" in said(*quiet, head="", last_line=f"{name}: 0.5")
    assert not said(*quiet, last_line=f"{name}: 0.5")


def test_a_word_that_only_contains_a_measure_says_nothing() -> None:
    assert not said("sh", "-c", "echo {x}", head='name = "vaccine-underscored"')


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("stalled = 2", ""),
        ("stalled = 3", "found 3 evaluations, expected fewer than all 3 points"),
        ("trials = 2\nstalled = 2", "found 2 evaluations, expected fewer than all 2 trials"),
        ('trials = 2\nwhen_over = "abort"', "it does nothing without target, stalled or time"),
        ('time = "8h"\nwhen_over = "abort"', ""),
    ],
)
def test_an_end_that_never_comes(budget: str, words: str) -> None:
    found = said("sh", "-c", "echo {x}", tail=f"[budget]\n{budget}")
    assert found.endswith(words)
    assert bool(found) is bool(words)
