"""The differences of two definitions."""

from __future__ import annotations

import pytest

from tests.factories import CONDITIONAL, make_experiment
from tests.unit.experiment.sources import (
    FULL,
    MINIMAL,
    read,
)
from tuned.experiment.differences import are_replaceable, differences, explained, replaced


def test_local_keys_are_no_difference() -> None:
    theirs = read(
        FULL.replace("/srv", "/elsewhere")
        .replace("parallel = 4", "")
        .replace('"4"', '"8"')
        .replace("512", "8")
    )
    assert read(FULL).definition() == theirs.definition()


def test_a_default_and_the_same_value_written_out_are_no_difference() -> None:
    written = MINIMAL + '[dedup]\npatience = 3\n[sampler]\nname = "tpe"\n'
    assert read(MINIMAL).definition() == read("direction = 'minimize'\n" + written).definition()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("trials = 100", "trials = 200", "budget.trials: 100 here, 200 in the database"),
        ("evaluations = 60", "", "budget.evaluations: 60 here, not set in the database"),
        ("seed = 42", "seed = 43", "sampler.seed: 42 here, 43 in the database"),
        (
            "3, true]",
            "3, 1]",
            'space.optimizer.choices: ["adam", "sgd", 3, true] here, ["adam", "sgd", 3, 1] in the database',
        ),
        ('"maximize"]', '"minimize"]', 'directions: ["maximize"] here, ["minimize"] in the database'),
    ],
)
def test_a_difference_is_told_by_its_key(old: str, new: str, line: str) -> None:
    theirs = read(FULL.replace(old, new)).definition()
    assert [*map(str, differences(read(FULL).definition(), theirs))] == [line]


def test_a_parameter_that_only_one_side_has_is_a_difference() -> None:
    more = read(MINIMAL + '[space.n]\ntype = "int"\nlow = 1\nhigh = 2\n').definition()
    (found,) = differences(read(MINIMAL).definition(), more)
    assert str(found).startswith('space.n: not set here, {"type": "int"')


def test_local_keys_are_compared_on_their_own_and_show_no_variable() -> None:
    text = MINIMAL.replace("[objective]", '[objective]\nworkdir = "/a"\nenv = { TOKEN = "sesame" }')
    other = text.replace("/a", "/b").replace("sesame", "mustard")
    found = differences(read(text).local(), read(other).local())
    assert [str(each) for each in found] == [
        'objective.workdir: "/a" here, "/b" in the file that is active',
        "objective.env: other variables here",
    ]
    assert [each.as_change for each in found] == [
        'objective.workdir: "/a", was "/b"',
        "objective.env: other variables",
    ]
    assert explained(found, "exp").endswith("tunectl submit --replace FILE")


def test_what_makes_another_search_is_told_with_the_ways_to_have_it() -> None:
    found = differences(read(MINIMAL).definition(), read("direction = 'maximize'\n" + MINIMAL).definition())
    assert explained(found, "exp").endswith(
        "; with directions changed it is another search: give it another name, or delete the one that is "
        "there (tunectl delete exp; tunectl submit --fresh FILE does both)"
    )


def test_a_pruner_that_comes_later_looks_at_the_values_that_trials_have_kept() -> None:
    several = MINIMAL.replace("[objective]", 'directions = ["minimize", "minimize"]\n[objective]')
    without, first, second = (
        read(several + rule).definition()
        for rule in ("", '[pruner]\nname = "median"\n', '[pruner]\nname = "median"\nobjective = 1\n')
    )
    assert are_replaceable(differences(first, without))
    for new, old in ((second, without), (without, second), (second, first)):
        assert not are_replaceable(differences(new, old))
    assert "pruner.objective: 1 here, 0 in the database" in explained(differences(second, without), "exp")


def test_a_replaced_definition_takes_only_what_may_be_replaced() -> None:
    mine = read(FULL.replace("trials = 100", "trials = 7").replace("seed = 42", "seed = 43")).definition()
    theirs = read(FULL).definition()
    [left] = differences(replaced(theirs, mine), mine)
    assert left.key == "sampler.seed"


def test_conditions_and_forbidden_combinations_make_another_search() -> None:
    mine = make_experiment(space=CONDITIONAL)
    other = CONDITIONAL.replace(
        'when = { optimizer = "sgd" }', 'when = { optimizer = ["adam", "sgd"], size = 1 }'
    )
    other = other.replace("size = 5\n", "size = 4\n")
    theirs = make_experiment(space=other)
    found = differences(mine.definition(), theirs.definition())
    assert {each.key for each in found} == {
        "space.momentum.when.optimizer",
        "space.momentum.when.size",
        "forbid",
    }
    assert not are_replaceable(found)


def test_a_range_of_a_float_has_one_form() -> None:
    forms = ("{ min = 0, max = 0.1 }", "{ max = 0.1, min = 0.0 }")
    mine, theirs = (
        make_experiment(
            space=CONDITIONAL.replace("size = 5\n", f"momentum = {form}\n").replace('decay = "fast"', "")
        )
        for form in forms
    )
    assert not differences(mine.definition(), theirs.definition())


def test_conditions_that_mean_the_same_are_no_difference() -> None:
    mine = make_experiment(
        space=CONDITIONAL.replace('"sgd" }', '["sgd"] }').replace("size = 5\n", "size = [5]\n")
    )
    assert not differences(mine.definition(), make_experiment(space=CONDITIONAL).definition())
