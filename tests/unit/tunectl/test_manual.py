"""The help texts."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tuned.tunectl.main import commands
from tuned.tunectl.manual import DOCUMENTATION, EXAMPLES, GROUPS


def help_of(*arguments: str) -> str:
    return CliRunner().invoke(commands, arguments, prog_name="tunectl").output


def test_every_command_stands_in_one_group_and_has_examples() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(commands.commands.keys() - {"help"})
    assert set(EXAMPLES) == {"tunectl", *commands.commands}


def test_help_shows_the_groups_in_their_order_examples_and_the_documentation() -> None:
    said = help_of("--help")
    titles = [f"{title}:" for title in (*GROUPS, "Examples")]
    assert [line for line in said.splitlines() if line in titles] == titles
    assert said.endswith(f"Documentation: {DOCUMENTATION}\n")


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_help_of_a_command_says_the_same_however_it_is_asked_for(name: str) -> None:
    said = help_of("help", name)
    assert said == help_of(name, "--help")
    assert said.startswith(f"Usage: tunectl {name} ")
    assert [line.strip() for line in said.splitlines()][-len(EXAMPLES[name]) :] == list(EXAMPLES[name])


def test_help_alone_is_that_of_all() -> None:
    assert help_of("help") == help_of("--help")
    assert "no such command 'frob'" in str(CliRunner().invoke(commands, ["help", "frob"]).output).lower()


def test_status_of_an_experiment_offers_to_show_it() -> None:
    result = CliRunner().invoke(commands, ["status", "minima"])
    assert (result.exit_code, "tunectl show minima" in result.output) == (2, True)
