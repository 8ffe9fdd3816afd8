"""The samplers an experiment file may name: their keywords, and what they can and cannot do.

A plain table, so that files can be checked without importing Optuna; a test holds it against Optuna's own
signatures. Only keywords that TOML can write are offered; ``seed`` is common to all and stands apart.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

OptionValue = int | float | str | bool


DEFAULT = "tpe"


#: NumPy's generators take no larger seed.
LARGEST_SEED = 2**32 - 1


_OBJECT = "a keyword that takes a Python object"


_DEPRECATED = "a keyword that Optuna is about to remove"


_INTERNAL = "a keyword that has no use here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One keyword of a sampler."""

    kind: type[int | float | bool | str]
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        if self.choices:
            return " or ".join(f'"{choice}"' for choice in self.choices)
        word = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}[self.kind]
        if self.low is not None and self.high is not None:
            return f"{word} from {self.low} to {self.high}"
        return word if self.low is None else f"{word} of at least {self.low}"

    def accepts(self, value: object) -> bool:
        if self.kind is float:
            is_kind = isinstance(value, int | float) and not isinstance(value, bool)
        else:
            is_kind = type(value) is self.kind
        if not is_kind or (self.choices and value not in self.choices):
            return False
        # Written so that NaN is refused.
        is_above = self.low is None or (isinstance(value, int | float) and value >= self.low)
        return is_above and (self.high is None or (isinstance(value, int | float) and value <= self.high))


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerEntry:
    """One sampler: Optuna's class for it, or our own walk."""

    #: The class in ``optuna.samplers``; None for the samplers that are our own walk over the space.
    class_name: str | None
    options: Mapping[str, Option] = field(default_factory=dict)
    #: Keywords of Optuna's class that are not offered, with what is said to who tries.
    withheld: Mapping[str, str] = field(default_factory=dict)
    #: Values that Optuna refuses in one sampler.
    conflicts: tuple[Mapping[str, OptionValue], ...] = ()
    #: Modules that must be there, by the name under which they are installed and imported.
    packages: tuple[str, ...] = ()
    is_single_objective: bool = False
    #: All hosts and restarts take their points from one sequence, and so have one seed.
    shares_seed: bool = False
    #: Categorical parameters are drawn at random, whatever the sampler has learned.
    ignores_categorical: bool = False
    #: What other trials found makes no difference: they need not be read.
    ignores_trials: bool = False

    @property
    def is_walk(self) -> bool:
        """Whether the points are enumerated by our own walk, each exactly once."""
        return self.class_name is None


_FLAG = Option(kind=bool)


_COUNT = Option(kind=int, low=0)


_PROBABILITY = Option(kind=float, low=0.0, high=1.0)


_GENETIC = {
    "population_size": Option(kind=int, low=2),
    "mutation_prob": _PROBABILITY,
    "crossover_prob": _PROBABILITY,
    "swapping_prob": _PROBABILITY,
}


_GENETIC_WITHHELD = dict.fromkeys(
    (
        "mutation",
        "crossover",
        "constraints_func",
        "elite_population_selection_strategy",
        "child_generation_strategy",
        "after_trial_strategy",
    ),
    _OBJECT,
)


SAMPLERS: Mapping[str, SamplerEntry] = {
    "tpe": SamplerEntry(
        class_name="TPESampler",
        options={
            "n_startup_trials": _COUNT,
            "n_ei_candidates": Option(kind=int, low=1),
            "multivariate": _FLAG,
            "group": _FLAG,
            "constant_liar": _FLAG,
        },
        withheld={
            **dict.fromkeys(("consider_prior", "prior_weight", "consider_magic_clip"), _DEPRECATED),
            **dict.fromkeys(("consider_endpoints", "warn_independent_sampling"), _DEPRECATED),
            **dict.fromkeys(("gamma", "weights", "constraints_func"), _OBJECT),
        },
        conflicts=({"group": True, "multivariate": False},),
    ),
    "random": SamplerEntry(class_name="RandomSampler", ignores_trials=True),
    "grid": SamplerEntry(class_name=None),
    "bruteforce": SamplerEntry(class_name=None),
    "cmaes": SamplerEntry(
        class_name="CmaEsSampler",
        options={
            "n_startup_trials": _COUNT,
            "popsize": Option(kind=int, low=2),
            "consider_pruned_trials": _FLAG,
            "use_separable_cma": _FLAG,
            "with_margin": _FLAG,
            "lr_adapt": _FLAG,
            "warn_independent_sampling": _FLAG,
        },
        withheld={
            **dict.fromkeys(("x0", "sigma0", "restart_strategy", "inc_popsize"), _DEPRECATED),
            **dict.fromkeys(("independent_sampler", "source_trials"), _OBJECT),
        },
        conflicts=(
            {"lr_adapt": True, "use_separable_cma": True},
            {"lr_adapt": True, "with_margin": True},
            {"use_separable_cma": True, "with_margin": True},
        ),
        packages=("cmaes",),
        is_single_objective=True,
        ignores_categorical=True,
    ),
    "nsgaii": SamplerEntry(class_name="NSGAIISampler", options=_GENETIC, withheld=_GENETIC_WITHHELD),
    "nsgaiii": SamplerEntry(
        class_name="NSGAIIISampler",
        options={**_GENETIC, "dividing_parameter": Option(kind=int, low=1)},
        withheld={**_GENETIC_WITHHELD, "reference_points": _OBJECT},
    ),
    "qmc": SamplerEntry(
        class_name="QMCSampler",
        options={
            "qmc_type": Option(kind=str, choices=("sobol", "halton")),
            "scramble": _FLAG,
            "warn_independent_sampling": _FLAG,
        },
        withheld={"independent_sampler": _OBJECT, "warn_asynchronous_seeding": _INTERNAL},
        packages=("scipy",),
        shares_seed=True,
    ),
    "gp": SamplerEntry(
        class_name="GPSampler",
        options={
            "n_startup_trials": _COUNT,
            "deterministic_objective": _FLAG,
            "warn_independent_sampling": _FLAG,
        },
        withheld=dict.fromkeys(("independent_sampler", "constraints_func"), _OBJECT),
        packages=("scipy", "torch"),
    ),
}


def option_problems(name: str, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """For each known keyword whose value does not fit: the keyword, and what is expected."""
    entry = SAMPLERS[name]
    fitting: dict[str, Any] = {}
    for keyword, value in options.items():
        if option := entry.options.get(keyword):
            if option.accepts(value):
                fitting[keyword] = value
            else:
                yield keyword, option.expected
    for conflict in entry.conflicts:
        if all(fitting.get(keyword) is value for keyword, value in conflict.items()):
            first, second = conflict
            yield first, f"another value together with {second} = {str(conflict[second]).lower()}"


def missing_packages(name: str) -> str | None:
    """What a person must do before the sampler can be used on this machine; None if nothing."""
    missing = [package for package in SAMPLERS[name].packages if importlib.util.find_spec(package) is None]
    if not missing:
        return None
    return (
        f"cannot use the sampler {name}: the Python package {' and '.join(missing)} is not installed; "
        f"install it where tuned runs: pip install {' '.join(missing)}"
    )
