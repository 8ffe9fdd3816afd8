"""The table [code]: its keys, the places that it gives, and its part of the definition."""

from __future__ import annotations

import pytest

from tuned.errors import InvalidInput
from tuned.experiment.differences import are_replaceable, differences, explained
from tuned.experiment.experiment import Experiment, defined, parse
from tuned.experiment.likeness import explain, snapshot_in

SPACE = '[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n'


def with_code(keys: str = "", objective: str = 'command = ["./run", "{code}", "{x}"]', more: str = "") -> str:
    return f'[objective]\n{objective}\n[code]\ndir = "/srv/x"\n{keys}\n{SPACE}{more}'


def of(text: str) -> Experiment:
    return parse(text.encode(), "exp.toml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (with_code().replace('dir = "/srv/x"', ""), "code.dir: found nothing, expected an absolute path"),
        (with_code('limit = "2G"'), 'code.limit: found "2G", expected at most "1G"'),
        (with_code("setup = []"), "code.setup: found an empty array"),
        (with_code('setup = ["{x}"]'), "code.setup[0]: found the unknown parameter {x}, expected code"),
        (with_code('snapshot = "0"'), "code.snapshot: found an unknown key"),
        (
            with_code(more='[space.code]\ntype = "int"\nlow = 0\nhigh = 1\n'),
            "space.code: found [code] beside it, expected another name, because {code} is the directory",
        ),
        (f'[objective]\ncommand = ["{{code}}/x"]\n{SPACE}', "found the unknown parameter {code}"),
        (
            f'[objective]\ncommand = ["true"]\nworkdir = "{{code}}/x"\n{SPACE}',
            'objective.workdir: found "{code}/x", expected an absolute path, or a table [code]',
        ),
        (with_code(objective='command = ["true"]\nworkdir = "x"'), "or one that begins with {code}"),
    ],
)
def test_a_wrong_key_is_told(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        of(text)
    assert problem in str(caught.value)


def test_trials_run_in_the_code_unless_the_file_says_otherwise() -> None:
    placed = of(with_code()).placed("/t{r}ee")
    assert placed.argv(placed.space.point({"x": 3})) == ("./run", "/t{r}ee", "3")
    assert placed.objective.workdir == "/t{r}ee"
    objective = 'python = "m:f"\ninterpreter = "{code}/bin/python"\nworkdir = "/w"\nenv = { P = "{code}/a" }'
    placed = of(with_code(objective=objective)).placed("/tree")
    found = placed.objective
    assert (found.interpreter, found.workdir, found.env) == ("/tree/bin/python", "/w", {"P": "/tree/a"})


def test_the_definition_has_the_snapshot_and_not_where_it_was_taken() -> None:
    mine = of(with_code('setup = ["make"]')).with_snapshot("ab" * 32)
    back = defined(mine.definition(), "exp")
    assert (back.snapshot, snapshot_in(mine.definition())) == ("ab" * 32, "ab" * 32)
    assert back.definition() == mine.definition()
    assert "/srv/x" not in mine.definition()
    assert back.localized(mine) == mine


def test_other_code_is_a_difference_that_a_person_may_replace() -> None:
    mine, theirs = (of(with_code()).with_snapshot(digit * 64) for digit in "ab")
    found = differences(mine.definition(), theirs.definition())
    assert are_replaceable(found)
    told = explained(found, "exp", "changed train.py")
    assert told == (
        "code: other files here than in the database (changed train.py); "
        "for the trials that start from now on: tunectl submit --replace --code FILE"
    )
    assert [each.as_change for each in found] == ["code: snapshot aaaaaaaaaaaa, was bbbbbbbbbbbb"]
    without = of(with_code().replace('[code]\ndir = "/srv/x"\n', "").replace(', "{code}"', ""))
    assert are_replaceable(differences(without.definition(), theirs.definition()))


def test_a_file_whose_code_nobody_has_looked_at_yet_is_the_one_that_is_active() -> None:
    active = {"exp": of(with_code()).with_snapshot("a" * 64)}
    assert explain(active, "exp", with_code().encode()) == ""
    assert "code.setup" in explain(active, "exp", with_code('setup = ["make"]').encode())
