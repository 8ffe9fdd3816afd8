"""The plots that fit a study."""

from __future__ import annotations

import optuna
import pytest

from tests.integration.plots.studies import searched
from tuned.errors import TunedError
from tuned.plots.figures import drawn
from tuned.protocol.plots import KINDS, PlotKind


def titles(study: optuna.Study, *kinds: PlotKind) -> list[str]:
    figures = drawn(study, kinds)
    assert all(each.figure.data for each in figures)
    return [each.title for each in figures]


def test_all_plots_of_one_objective_but_the_front_are_drawn() -> None:
    assert titles(searched(9)) == [
        "History", "Importance", "Parallel coordinates", "Slices", "Contour", "Intermediate values",
        "Timeline",
    ]  # fmt: skip


def test_a_history_of_one_objective_has_the_best_so_far() -> None:
    [history] = drawn(searched(9), ["history"])
    assert "Best Value" in [each.name for each in history.figure.data]


@pytest.mark.filterwarnings("ignore:PedAnovaImportanceEvaluator computes")
def test_each_objective_has_its_plots_and_all_have_a_front() -> None:
    found = titles(searched(9, objectives=2))
    assert found[:2] == ["History of value 0", "History of value 1"]
    assert found[-2:] == ["Front", "Timeline"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_without_trials_has_no_plot(kind: PlotKind) -> None:
    with pytest.raises(TunedError, match=f"^{kind}: found "):
        drawn(optuna.create_study(), [kind])
    with pytest.raises(TunedError, match=r"^it has no trial yet$"):
        drawn(optuna.create_study(), [])


def test_trials_that_all_have_one_value_have_no_importance() -> None:
    study = optuna.create_study()
    study.optimize(lambda trial: 0 * trial.suggest_float("x", 0, 1), n_trials=3)
    with pytest.raises(TunedError, match="found the same values in all trials"):
        drawn(study, ["importance"])
