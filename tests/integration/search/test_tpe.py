"""TPE with the parameters of finished trials at hand: it draws the points that Optuna's own draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from optuna import Study
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

import tuned.search.sampling
from tests.factories import CONDITIONAL, MIXED, Member, join, make_experiment, opened
from tests.integration.search.drawing import PLANE, visible
from tuned.domain.claim import Claimed
from tuned.domain.space import Point
from tuned.search.sampling import PointSource
from tuned.search.tpe import Tpe
from tuned.storage.database import Database
from tuned.storage.frozen_trials import KnownTrial


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    with opened(sqlite_url) as database:
        yield database


def begin(database: Database, name: str, text: str = "", space: str = PLANE) -> Member:
    """A host that learns from its third trial on, and from those that still run if it has one objective."""
    liar = "" if text else "constant_liar = true\n"
    sampler = f'[sampler]\nname = "tpe"\nseed = 1\nn_startup_trials = 3\n{liar}'
    return join(database, make_experiment(f"{text}\n{sampler}", space=space, name=name))


def search(member: Member, source: PointSource) -> list[Point]:
    """The points of a search whose trials end in all ways, and some not yet."""
    found = []
    for number in range(24):
        draft = source.draw()
        found.append(draft.candidate.point)
        outcome = member.claims.claim(draft.candidate)
        source.release(draft)
        if isinstance(outcome, Claimed) and number % 6 != 5:
            _end(member, outcome, number)
    assert all(isinstance(each, KnownTrial) for each in visible(source, TrialState.COMPLETE))
    return found


def _end(member: Member, claimed: Claimed, number: int) -> None:
    values = (number % 7, number % 5)[: len(member.experiment.directions)]
    if number % 6 == 4 and len(values) == 1:
        member.tell(claimed, *values, is_pruned=True, intermediate={1: float(number)})
    else:
        member.tell(claimed, *values, constraints={"c": 1.0 - number % 3} if number % 2 else {})


@pytest.mark.parametrize("text", ["", 'directions = ["minimize", "maximize"]'], ids=["one", "several"])
@pytest.mark.parametrize("space", [MIXED, PLANE, CONDITIONAL], ids=["mixed", "plane", "conditional"])
def test_the_same_points_are_drawn_as_by_optunas_own_sampler(
    database: Database, monkeypatch: pytest.MonkeyPatch, space: str, text: str
) -> None:
    ours = begin(database, "ours", text, space)
    found = search(ours, ours.source())
    monkeypatch.setattr(tuned.search.sampling, "Tpe", TPESampler)
    theirs = begin(database, "theirs", text, space)
    assert search(theirs, theirs.source()) == found


def test_only_trials_that_still_run_are_turned_into_numbers_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = begin(database, "exp")
    source = member.source()
    search(member, source)
    asked = []
    get_params = Tpe._get_params

    def note(self: Tpe, trial: FrozenTrial, study: Study) -> dict[str, Any]:
        asked.append(trial.state)
        return get_params(self, trial, study)

    monkeypatch.setattr(Tpe, "_get_params", note)
    source.draw()
    assert set(asked) == {TrialState.RUNNING}
