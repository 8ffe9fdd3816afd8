"""The samplers an experiment file may name: one model each, with its keywords, and its traits.

Files are checked without importing Optuna; a test holds the models against Optuna's own signatures. Only
keywords that TOML can write are offered. Nothing here may draw a point.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Discriminator, Field, Tag

from tuned.config.locations import Choice
from tuned.domain.space import Space
from tuned.experiment.keywords import Keywords, by_name

OptionValue = int | float | str | bool

DEFAULT: Final = "tpe"

#: NumPy's generators take no larger seed.
LARGEST_SEED = 2**32 - 1

_OBJECT = "a keyword that takes a Python object"

_DEPRECATED = "a keyword that Optuna is about to remove"

_INTERNAL = "a keyword that has no use here"

_NAME = "The sampler."


Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


class Sampler(Keywords):
    """The keys of all samplers."""

    kind = "sampler"
    ours = frozenset({"name", "seed"})
    #: The class in ``optuna.samplers``; None for the samplers that are our own walk over the space.
    class_name: ClassVar[str | None] = None
    #: Pairs of values that Optuna refuses in one sampler.
    conflicts: ClassVar[tuple[Mapping[str, OptionValue], ...]] = ()
    #: Modules that must be there, by the name under which they are installed and imported.
    packages: ClassVar[tuple[str, ...]] = ()
    is_single_objective: ClassVar[bool] = False
    #: Whether the points are enumerated by our own walk, each exactly once.
    is_walk: ClassVar[bool] = False
    #: All hosts and restarts take their points from one sequence, and so have one seed.
    shares_seed: ClassVar[bool] = False
    #: Categorical parameters are drawn at random, whatever the sampler has learned.
    ignores_categorical: ClassVar[bool] = False
    #: It models each constraint by itself, and so needs the same ones in all trials with values.
    models_constraints: ClassVar[bool] = False
    #: The values of earlier trials make a difference to the next point.
    learns: ClassVar[bool] = True
    #: Other trials make no difference at all: they need not be read.
    ignores_trials: ClassVar[bool] = False
    #: Keywords with which it has a model of parameters with conditions, unless the file excludes them. None:
    #: it has no such model, and draws them at random.
    for_conditions: ClassVar[Mapping[str, OptionValue] | None] = None

    name: str = Field(default=DEFAULT, description=_NAME)
    seed: Seed | None = Field(
        default=None,
        description="Makes the draws repeatable, for each host and each start of its own. Default: random.",
    )

    def options_for(self, space: Space) -> dict[str, Any]:
        """The keywords for this space: those of the file, and others that it needs for conditions."""
        given = self.options
        needed = dict(self.for_conditions or {})
        if self.for_conditions is None and "warn_independent_sampling" in self.option_names():
            # Each draw would warn; ``check`` says it once.
            needed["warn_independent_sampling"] = False
        is_wanted = all(given.get(name, value) == value for name, value in needed.items())
        return {**needed, **given} if space.conditions and is_wanted else given


_Flag = bool | None
_Count = Annotated[int, Field(ge=0)] | None
_Positive = Annotated[int, Field(ge=1)] | None
_Several = Annotated[int, Field(ge=2)] | None
_Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] | None

_StartupTrials = Annotated[_Count, Field(description="So many trials are random before the sampler begins.")]
_WarnIndependent = Annotated[
    _Flag,
    Field(description="Whether the log tells of parameters that are drawn without the sampler's model."),
]


class Tpe(Sampler):
    """Tree-structured Parzen estimator.

    If a parameter has a condition, `multivariate` and `group` are true unless the file says otherwise.
    """

    class_name = "TPESampler"
    withheld: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("consider_prior", "prior_weight", "consider_magic_clip"), _DEPRECATED),
        **dict.fromkeys(("consider_endpoints", "warn_independent_sampling"), _DEPRECATED),
        **dict.fromkeys(("gamma", "weights", "constraints_func"), _OBJECT),
    }
    conflicts = ({"group": True, "multivariate": False},)
    for_conditions: ClassVar[Mapping[str, OptionValue] | None] = {"multivariate": True, "group": True}

    name: Literal["tpe"] = Field(default=DEFAULT, description=_NAME)
    n_startup_trials: _StartupTrials = None
    n_ei_candidates: _Positive = Field(
        default=None, description="So many candidates are compared for each point."
    )
    multivariate: _Flag = Field(default=None, description="Whether parameters are drawn together.")
    group: _Flag = Field(
        default=None,
        description="Whether parameters that occur together are drawn together; not with "
        "`multivariate = false`.",
    )
    constant_liar: _Flag = Field(
        default=None, description="Whether running trials count as bad ones, so that hosts draw apart."
    )


class Random(Sampler):
    """Independent random points."""

    class_name = "RandomSampler"
    learns = False
    ignores_trials = True
    for_conditions: ClassVar[Mapping[str, OptionValue] | None] = {}

    name: Literal["random"] = Field(description=_NAME)


class Grid(Sampler):
    """Every point once, on however many hosts: our own walk, in seeded random order.

    A float needs a step; at most 2^62 points.
    """

    is_walk = True
    learns = False
    for_conditions: ClassVar[Mapping[str, OptionValue] | None] = {}

    name: Literal["grid"] = Field(description=_NAME)


class BruteForce(Sampler):
    """The same as `grid`."""

    is_walk = True
    learns = False
    for_conditions: ClassVar[Mapping[str, OptionValue] | None] = {}

    name: Literal["bruteforce"] = Field(description=_NAME)


class CmaEs(Sampler):
    """Covariance matrix adaptation: one objective only; draws categorical parameters at random.

    Of `use_separable_cma`, `with_margin` and `lr_adapt` at most one is true.
    """

    class_name = "CmaEsSampler"
    withheld: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("x0", "sigma0", "restart_strategy", "inc_popsize"), _DEPRECATED),
        **dict.fromkeys(("independent_sampler", "source_trials"), _OBJECT),
    }
    conflicts = (
        {"lr_adapt": True, "use_separable_cma": True},
        {"lr_adapt": True, "with_margin": True},
        {"use_separable_cma": True, "with_margin": True},
    )
    packages = ("cmaes",)
    is_single_objective = True
    ignores_categorical = True

    name: Literal["cmaes"] = Field(description=_NAME)
    n_startup_trials: _StartupTrials = None
    popsize: _Several = Field(default=None, description="The points of one generation.")
    consider_pruned_trials: _Flag = Field(default=None, description="Whether pruned trials count.")
    use_separable_cma: _Flag = Field(
        default=None, description="Whether the covariance matrix is kept diagonal."
    )
    with_margin: _Flag = Field(
        default=None, description="Whether discrete parameters keep a margin, so that none gets stuck."
    )
    lr_adapt: _Flag = Field(default=None, description="Whether the learning rate adapts itself.")
    warn_independent_sampling: _WarnIndependent = None


class _Genetic(Sampler):
    withheld: ClassVar[Mapping[str, str]] = dict.fromkeys(
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

    population_size: _Several = Field(default=None, description="The points of one generation.")
    mutation_prob: _Probability = Field(
        default=None, description="How likely a parameter mutates. Default: 1 / the number of parameters."
    )
    crossover_prob: _Probability = Field(default=None, description="How likely a point has two parents.")
    swapping_prob: _Probability = Field(
        default=None, description="How likely a parameter comes from the other parent."
    )


class NsgaII(_Genetic):
    """Genetic algorithm for several objectives."""

    class_name = "NSGAIISampler"

    name: Literal["nsgaii"] = Field(description=_NAME)


class NsgaIII(_Genetic):
    """Genetic algorithm for many objectives."""

    class_name = "NSGAIIISampler"
    withheld: ClassVar[Mapping[str, str]] = {**_Genetic.withheld, "reference_points": _OBJECT}

    name: Literal["nsgaiii"] = Field(description=_NAME)
    dividing_parameter: _Positive = Field(
        default=None, description="So many divisions of each objective place the reference points."
    )


class Qmc(Sampler):
    """Quasi-random points that spread evenly: all hosts have one seed."""

    class_name = "QMCSampler"
    withheld: ClassVar[Mapping[str, str]] = {
        "independent_sampler": _OBJECT,
        "warn_asynchronous_seeding": _INTERNAL,
    }
    packages = ("scipy",)
    shares_seed = True
    learns = False

    name: Literal["qmc"] = Field(description=_NAME)
    qmc_type: Literal["sobol", "halton"] | None = Field(default=None, description="The sequence.")
    scramble: _Flag = Field(default=None, description="Whether the sequence is scrambled.")
    warn_independent_sampling: _WarnIndependent = None


class Gp(Sampler):
    """Gaussian process: needs the package torch."""

    class_name = "GPSampler"
    withheld: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("independent_sampler", "constraints_func"), _OBJECT
    )
    packages = ("scipy", "torch")
    models_constraints = True

    name: Literal["gp"] = Field(description=_NAME)
    n_startup_trials: _StartupTrials = None
    deterministic_objective: _Flag = Field(
        default=None, description="Whether the same point always has the same value."
    )
    warn_independent_sampling: _WarnIndependent = None


CHOICE = Choice(key="name", default=DEFAULT)

AnySampler = Annotated[
    Annotated[Tpe, Tag("tpe")]
    | Annotated[Random, Tag("random")]
    | Annotated[Grid, Tag("grid")]
    | Annotated[BruteForce, Tag("bruteforce")]
    | Annotated[CmaEs, Tag("cmaes")]
    | Annotated[NsgaII, Tag("nsgaii")]
    | Annotated[NsgaIII, Tag("nsgaiii")]
    | Annotated[Qmc, Tag("qmc")]
    | Annotated[Gp, Tag("gp")],
    Discriminator(CHOICE.of),
]


SAMPLERS: Mapping[str, type[Sampler]] = by_name(
    Tpe, Random, Grid, BruteForce, CmaEs, NsgaII, NsgaIII, Qmc, Gp
)


def conflicting(model: type[Sampler], raw: Mapping[str, object]) -> list[tuple[str, str]]:
    """For each pair of values that Optuna refuses together: a keyword, and what is expected."""
    found = []
    for conflict in model.conflicts:
        if all(raw.get(keyword) is value for keyword, value in conflict.items()):
            first, second = conflict
            found.append((first, f"another value together with {second} = {str(conflict[second]).lower()}"))
    return found


def missing_packages(name: str) -> str | None:
    """The way to make the sampler usable on this machine; None if it is."""
    missing = [package for package in SAMPLERS[name].packages if importlib.util.find_spec(package) is None]
    if not missing:
        return None
    return (
        f"cannot use the sampler {name}: the Python package {' and '.join(missing)} is not installed; "
        f"install it where tuned runs: pip install {' '.join(missing)}"
    )
