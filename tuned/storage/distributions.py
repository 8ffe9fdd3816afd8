"""Parameters of a file as Optuna's distributions. Its values never differ from the parameters' own."""

from __future__ import annotations

from collections.abc import Iterable

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Parameter


def distributions(parameters: Iterable[Parameter]) -> dict[str, BaseDistribution]:
    """By name."""
    return {parameter.name: _distribution(parameter) for parameter in parameters}


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter:
        case IntParameter():
            # Optuna warns unless a step reaches the upper bound.
            high = parameter.at(parameter.size - 1)
            return IntDistribution(parameter.low, high, log=parameter.log, step=parameter.step)
        case FloatParameter(step=None):
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
        case FloatParameter():
            size = parameter.size
            assert size is not None
            return FloatDistribution(parameter.low, parameter.at(size - 1), step=parameter.step)
        case CategoricalParameter():
            return CategoricalDistribution(parameter.choices)
