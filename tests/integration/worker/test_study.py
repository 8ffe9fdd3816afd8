"""The study that an objective sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from optuna.distributions import IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tests.integration.worker.channels import Ends, ends
from tuned.worker.channel import ASK

BEST = {
    "number": 4,
    "values": [0.25],
    "params": {"x": 2},
    "user_attrs": {"epochs": 12},
    "constraints": {"latency": -1.0},
}


@pytest.fixture
def both() -> Iterator[Ends]:
    with ends() as each:
        yield each


def test_its_name_and_direction_are_there_without_a_question(both: Ends) -> None:
    study = both.trial("maximize").study
    assert (study.study_name, study.direction) == ("exp", StudyDirection.MAXIMIZE)
    assert study.directions == [StudyDirection.MAXIMIZE]
    assert both.told() == []


def test_how_it_stands_is_asked_once(both: Ends) -> None:
    study = both.trial().study
    both.answer([BEST], team="a")
    assert (study.best_value, study.best_params, study.user_attrs) == (0.25, {"x": 2}, {"team": "a"})
    [trial] = study.best_trials
    assert (trial.number, trial.state, trial.user_attrs) == (4, TrialState.COMPLETE, {"epochs": 12})
    assert trial.constraints == {"latency": -1.0}
    assert trial.distributions == {"x": IntDistribution(0, 9)}
    assert both.told() == [ASK]


def test_without_a_value_there_is_no_best_trial(both: Ends) -> None:
    study = both.trial().study
    both.answer()
    with pytest.raises(ValueError, match="No feasible trials are completed yet"):
        _ = study.best_value
    assert study.best_trials == []


@pytest.mark.parametrize("name", ["direction", "best_trial", "best_value", "best_params"])
def test_several_objectives_have_several_best_trials(both: Ends, name: str) -> None:
    study: Any = both.trial("minimize", "maximize").study
    with pytest.raises(RuntimeError, match=r"this study has several: use (directions|best_trials)"):
        getattr(study, name)


def test_a_stop_is_told(both: Ends) -> None:
    both.trial().study.stop()
    assert both.told() == [{"stop": True}]


@pytest.mark.parametrize("name", ["trials", "get_trials", "enqueue_trial", "set_user_attr", "_storage"])
def test_a_part_that_there_is_not_is_named(both: Ends, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"trial\.study has no '{name}' when tuned runs the objective"):
        getattr(both.trial().study, name)
