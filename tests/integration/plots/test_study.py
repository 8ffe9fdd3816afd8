"""A study that is exported and made again."""

from __future__ import annotations

import optuna
import pytest

from tests.integration.plots.studies import exported, searched
from tuned.errors import TunedError
from tuned.plots.study import study_of


@pytest.mark.parametrize("objectives", [1, 2])
def test_a_study_is_made_again_of_what_is_exported(objectives: int) -> None:
    study = searched(6, objectives=objectives)
    again = study_of("again", exported(study))
    assert again.directions == study.directions
    for ours, theirs in zip(again.trials, study.trials, strict=True):
        assert (ours.number, ours.state, ours.values, ours.params) == (
            theirs.number, theirs.state, theirs.values, theirs.params,
        )  # fmt: skip
        assert (ours.distributions, ours.intermediate_values) == (
            theirs.distributions, theirs.intermediate_values,
        )  # fmt: skip
        assert (ours.constraints, ours.duration) == (theirs.constraints, theirs.duration)


def test_a_parameter_with_several_ranges_has_the_newest_that_fits() -> None:
    export = exported(searched(3))
    export["distributions"].append(
        {
            "name": "x",
            "distribution": '{"name": "FloatDistribution", "attributes": '
            '{"low": 5.0, "high": 6.0, "log": false, "step": null}}',
        }
    )
    x = optuna.distributions.FloatDistribution(1e-3, 1.0, log=True)
    assert all(trial.distributions["x"] == x for trial in study_of("again", export).trials)


def test_a_value_in_no_range_is_named() -> None:
    export = exported(searched(1))
    export["distributions"] = [each for each in export["distributions"] if each["name"] != "x"]
    with pytest.raises(TunedError, match=r"^found x = .*, expected a value in one of its ranges$"):
        study_of("again", export)
