"""Values of parameters in an experiment file: which are right, and what is expected instead of a wrong one.

It must never know more than one parameter.
"""

from __future__ import annotations

from tuned.config.toml import alternatives, describe
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Parameter


def is_value(parameter: Parameter, value: object) -> bool:
    if not isinstance(value, int | float | str):
        return False
    # The space takes 3.0 for 3 and true for 1, as they may come from Optuna; a file should say what it means.
    if isinstance(parameter, IntParameter) and type(value) is not int:
        return False
    if isinstance(parameter, FloatParameter) and type(value) not in {int, float}:
        return False
    try:
        parameter.token(value)
    except (ValueError, OverflowError):
        return False
    return True


def values_of(parameter: Parameter) -> str:
    if isinstance(parameter, CategoricalParameter):
        shown = [describe(choice) for choice in parameter.choices[:10]]
        return alternatives(shown if len(parameter.choices) <= 10 else [*shown, "another of the choices"])
    word = "an integer" if isinstance(parameter, IntParameter) else "a number"
    steps = f" in steps of {parameter.step}" if parameter.step not in (None, 1) else ""
    return f"{word} from {parameter.low} to {parameter.high}{steps}"
