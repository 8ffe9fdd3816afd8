"""Parameters as Optuna's distributions."""

from __future__ import annotations

import warnings

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter
from tuned.storage.distributions import distributions


def test_each_parameter_is_the_distribution_with_the_same_values() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distributions(
            [
                IntParameter(name="i", low=1, high=8, step=3),
                FloatParameter(name="f", low=0.0, high=1.0, step=0.3),
                FloatParameter(name="l", low=0.1, high=1.0, log=True),
                CategoricalParameter(name="c", choices=("a", 1)),
            ]
        ) == {
            "i": IntDistribution(1, 7, step=3),
            "f": FloatDistribution(0.0, 0.9, step=0.3),
            "l": FloatDistribution(0.1, 1.0, log=True),
            "c": CategoricalDistribution(("a", 1)),
        }
