"""Functions to minimize whose best points are known, as experiment files and as Optuna's users write them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna

_FLOAT = '[space.{name}]\ntype = "float"\nlow = {low}\nhigh = {high}\n'

_HARTMANN_WEIGHTS = (1.0, 1.2, 3.0, 3.2)
_HARTMANN_SCALES = (
    (10.0, 3.0, 17.0, 3.5, 1.7, 8.0),
    (0.05, 10.0, 17.0, 0.1, 8.0, 14.0),
    (3.0, 3.5, 1.7, 10.0, 17.0, 8.0),
    (17.0, 8.0, 0.05, 10.0, 0.1, 14.0),
)
_HARTMANN_CENTRES = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function to minimize, and its space."""

    value: Callable[[Mapping[str, Any]], float]
    #: As in an experiment file.
    space: str
    #: Takes the same parameters from a trial of plain Optuna.
    suggest: Callable[[optuna.Trial], object]
    #: Parameters depend on others: then tuned gives its sampler ``group = true``.
    has_conditions: bool = False


def _floats(names: Iterable[str], low: float, high: float) -> str:
    return "".join(_FLOAT.format(name=name, low=low, high=high) for name in names)


def _suggest_floats(names: Iterable[str], low: float, high: float) -> Callable[[optuna.Trial], object]:
    return lambda trial: [trial.suggest_float(name, low, high) for name in names]


def _sphere(values: Mapping[str, Any]) -> float:
    return sum(float(value - 1) ** 2 for value in values.values())


def _rosenbrock(values: Mapping[str, Any]) -> float:
    x, y, z = values["x"], values["y"], values["z"]
    return float(100 * (y - x * x) ** 2 + (1 - x) ** 2 + 100 * (z - y * y) ** 2 + (1 - y) ** 2)


def _mixed(values: Mapping[str, Any]) -> float:
    """As hyperparameters are: a rate on a logarithmic scale, layers, and a choice that shifts both."""
    shift = {"adam": 0.0, "sgd": 1.0, "rmsprop": 0.5}[values["kind"]]
    rate = math.log10(values["rate"]) + 3 - shift
    return float(rate * rate + 0.3 * (values["layers"] - 5) ** 2 + shift + values["dropout"])


def _suggest_mixed(trial: optuna.Trial) -> None:
    trial.suggest_float("rate", 1e-6, 1.0, log=True)
    trial.suggest_int("layers", 1, 12)
    trial.suggest_categorical("kind", ["adam", "sgd", "rmsprop"])
    trial.suggest_float("dropout", 0.0, 0.9)


def _hartmann(values: Mapping[str, Any]) -> float:
    point = [values[name] for name in "abcdef"]
    found = 0.0
    for weight, scales, centres in zip(_HARTMANN_WEIGHTS, _HARTMANN_SCALES, _HARTMANN_CENTRES, strict=True):
        distance = sum(s * (x - c) ** 2 for s, x, c in zip(scales, point, centres, strict=True))
        found -= weight * math.exp(-distance)
    return found


def _optimizers(values: Mapping[str, Any]) -> float:
    """Two optimizers, each with a best rate and a parameter of its own."""
    rate = math.log10(values["rate"])
    if values["kind"] == "sgd":
        return float((rate + 1) ** 2 + 20 * (values["momentum"] - 0.9) ** 2 + 0.2)
    return float((rate + 3) ** 2 + 20 * (values["decay"] - 0.3) ** 2)


def _suggest_optimizers(trial: optuna.Trial) -> None:
    trial.suggest_float("rate", 1e-6, 1.0, log=True)
    if trial.suggest_categorical("kind", ["sgd", "adam"]) == "sgd":
        trial.suggest_float("momentum", 0.0, 1.0)
    else:
        trial.suggest_float("decay", 0.0, 1.0)


#: The best width of each layer.
_WIDTHS = (0.7, 0.4, 0.2)


def _layers(values: Mapping[str, Any]) -> float:
    """Each layer has a width; three layers are one too many."""
    widths = [values[f"width{n}"] for n in range(1, values["layers"] + 1)]
    off = sum((width - best) ** 2 for width, best in zip(widths, _WIDTHS, strict=False))
    return float(5 * off + abs(values["layers"] - 2) / 2)


def _suggest_layers(trial: optuna.Trial) -> None:
    for n in range(1, trial.suggest_int("layers", 1, 3) + 1):
        trial.suggest_float(f"width{n}", 0.0, 1.0)


FUNCTIONS = {
    "sphere, 5 floats": Function(
        value=_sphere, space=_floats("abcde", -5.0, 5.0), suggest=_suggest_floats("abcde", -5.0, 5.0)
    ),
    "Rosenbrock, 3 floats": Function(
        value=_rosenbrock, space=_floats("xyz", -2.0, 2.0), suggest=_suggest_floats("xyz", -2.0, 2.0)
    ),
    "mixed, 4 parameters": Function(
        value=_mixed,
        space='[space.rate]\ntype = "float"\nlow = 1e-6\nhigh = 1.0\nlog = true\n'
        '[space.layers]\ntype = "int"\nlow = 1\nhigh = 12\n'
        '[space.kind]\ntype = "categorical"\nchoices = ["adam", "sgd", "rmsprop"]\n'
        + _floats(["dropout"], 0.0, 0.9),
        suggest=_suggest_mixed,
    ),
    "Hartmann, 6 floats": Function(
        value=_hartmann, space=_floats("abcdef", 0.0, 1.0), suggest=_suggest_floats("abcdef", 0.0, 1.0)
    ),
    "optimizers, 4 parameters, 2 with conditions": Function(
        value=_optimizers,
        space='[space.rate]\ntype = "float"\nlow = 1e-6\nhigh = 1.0\nlog = true\n'
        '[space.kind]\ntype = "categorical"\nchoices = ["sgd", "adam"]\n'
        + _floats(["momentum"], 0.0, 1.0)
        + 'when = { kind = "sgd" }\n'
        + _floats(["decay"], 0.0, 1.0)
        + 'when = { kind = "adam" }\n',
        suggest=_suggest_optimizers,
        has_conditions=True,
    ),
    "layers, 4 parameters, 2 with conditions": Function(
        value=_layers,
        space='[space.layers]\ntype = "int"\nlow = 1\nhigh = 3\n'
        + _floats(["width1"], 0.0, 1.0)
        + _floats(["width2"], 0.0, 1.0)
        + "when = { layers = { min = 2, max = 3 } }\n"
        + _floats(["width3"], 0.0, 1.0)
        + "when = { layers = 3 }\n",
        suggest=_suggest_layers,
        has_conditions=True,
    ),
}
