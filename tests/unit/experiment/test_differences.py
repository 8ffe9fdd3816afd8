"""The differences of two definitions."""

from __future__ import annotations

import pytest

from tests.unit.experiment.sources import (
    FULL,
    MINIMAL,
    read,
)
from tuned.experiment.differences import differences


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
    assert differences(read(FULL).definition(), theirs) == [line]


def test_a_parameter_that_only_one_side_has_is_a_difference() -> None:
    more = read(MINIMAL + '[space.n]\ntype = "int"\nlow = 1\nhigh = 2\n').definition()
    (line,) = differences(read(MINIMAL).definition(), more)
    assert line.startswith('space.n: not set here, {"type": "int"')
