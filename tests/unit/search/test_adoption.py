"""The definition that a search follows, and this host's own keys in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.factories import line
from tests.unit.domain.test_study_status import FRESH
from tuned.domain.study_status import StudyStatus
from tuned.errors import Conflict
from tuned.experiment.experiment import Experiment, parse
from tuned.search.adoption import Adoption


def runs(program: str, *, workdir: str = "/a", points: int = 9) -> Experiment:
    text = f'[objective]\ncommand = ["{program}"]\nworkdir = "{workdir}"\n{line(points)}'
    return parse(text.encode(), "exp.toml")


def at(revision: int, experiment: Experiment) -> StudyStatus:
    return replace(FRESH, definition=experiment.definition(), revision=revision)


def test_what_was_claimed_before_is_evaluated_as_it_was_then() -> None:
    adoption = Adoption(runs("old"), at(1, runs("old")))
    assert adoption.follow(at(1, runs("old"))) is None
    assert adoption.follow(at(3, runs("new", workdir="/b"))) == ['objective.command: ["new"], was ["old"]']
    assert (adoption.of(1), adoption.of(3)) == (runs("old"), runs("new"))
    assert adoption.experiment == runs("new")


@pytest.mark.parametrize("is_followed_first", [True, False])
def test_another_file_of_this_host_counts_from_its_revision_on(is_followed_first: bool) -> None:
    adoption = Adoption(runs("x"), at(1, runs("x")))
    if is_followed_first:
        adoption.follow(at(2, runs("x")))
    adoption.localize(runs("x", workdir="/b"), 2)
    adoption.follow(at(2, runs("x")))
    assert (adoption.of(1), adoption.of(2)) == (runs("x"), runs("x", workdir="/b"))


def test_another_search_is_not_taken_over() -> None:
    adoption = Adoption(runs("x"), at(1, runs("x")))
    with pytest.raises(Conflict, match=r"space.x.high: 8 here, 4 in the database"):
        adoption.follow(at(1, runs("x", points=5)))
    assert adoption.experiment == runs("x")
