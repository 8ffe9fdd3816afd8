"""The pruners an experiment file may name: one model each, with Optuna's keywords.

Files are checked without importing Optuna; a test holds the models against Optuna's own signatures. Nothing
here may decide about a trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from tuned.config.locations import Choice
from tuned.config.toml import alternatives, refuse_keys
from tuned.experiment.keywords import Keywords, by_name

_NAME = "The rule."

_AUTO = 'at least 1; not "auto", which would differ between hosts'


class Pruner(Keywords):
    """The keys of all pruners."""

    kind = "pruner"
    ours = frozenset({"name", "objective"})
    #: The class in ``optuna.pruners``.
    class_name: ClassVar[str]
    #: The best trials at each rung go on. All hosts see the rungs of all trials.
    has_rungs: ClassVar[bool] = False

    name: str = Field(description=_NAME)
    objective: Annotated[int, Field(ge=0)] = Field(
        default=0, description="With several objectives: the one that the rule looks at, counted from 0."
    )

    @property
    def keywords(self) -> dict[str, Any]:
        """The keywords that Optuna's class gets as they are written."""
        return self.options

    @property
    def document(self) -> dict[str, Any]:
        """The table of a file that says the same."""
        return {
            "name": self.name,
            "objective": self.objective,
            **self.model_dump(exclude_none=True, exclude_unset=True),
        }

    @property
    def deciding(self) -> Pruner | None:
        """The rule that decides; None if it is a wrapper that has none to wrap."""
        return self


_Count = Annotated[int, Field(ge=0)] | None
_Positive = Annotated[int, Field(ge=1)] | None
_Several = Annotated[int, Field(ge=2)] | None
_Finite = Annotated[float, Field(allow_inf_nan=False)] | None
_Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] | None

_StartupTrials = Annotated[
    _Count, Field(description="No trial is pruned before so many are complete. Default: 5.")
]
_WarmupSteps = Annotated[_Count, Field(description="No trial is pruned before this step. Default: 0.")]
_IntervalSteps = Annotated[_Positive, Field(description="The rule looks once in so many steps. Default: 1.")]
_MinTrials = Annotated[
    _Positive,
    Field(description="No trial is pruned at a step that fewer complete trials reported. Default: 1."),
]
_Percentile = Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)]
_Kept = Field(title="a number from 0 to 100", description="So many percent of the trials are kept.")
_Lower = Annotated[_Finite, Field(description="A report below this prunes.")]
_Upper = Annotated[_Finite, Field(description="A report above this prunes.")]
_PThreshold = Annotated[
    _Probability, Field(description="The larger, the more trials are pruned. Default: 0.1.")
]
_StartupSteps = Annotated[
    _Count, Field(description="No trial is pruned before so many steps in common. Default: 2.")
]
_Resource = Annotated[int, Field(ge=1)]
_First = Field(title=f"an integer of {_AUTO}", description="The step of the first rung.")
_Whole = Field(title=f"an integer of {_AUTO}", description="The steps of a whole trial.")
_ReductionFactor = Annotated[
    _Several,
    Field(description="One in so many trials goes on from each rung. Default: 4, of `hyperband` 3."),
]
_LeftOut = Annotated[_Count, Field(description="So many of the first rungs are left out. Default: 0.")]
_BootstrapCount = Annotated[
    _Count, Field(description="So many first trials of each rung end there. Default: 0.")
]


class Median(Pruner):
    """Prunes a trial whose best report so far is worse than the median of the complete trials at its step."""

    class_name = "MedianPruner"

    name: Literal["median"] = Field(description=_NAME)
    n_startup_trials: _StartupTrials = None
    n_warmup_steps: _WarmupSteps = None
    interval_steps: _IntervalSteps = None
    n_min_trials: _MinTrials = None


class Percentile(Pruner):
    """The same as `median` with another percentile: 25 keeps the best quarter."""

    class_name = "PercentilePruner"

    name: Literal["percentile"] = Field(description=_NAME)
    percentile: Annotated[_Percentile, _Kept]
    n_startup_trials: _StartupTrials = None
    n_warmup_steps: _WarmupSteps = None
    interval_steps: _IntervalSteps = None
    n_min_trials: _MinTrials = None


class Threshold(Pruner):
    """Prunes a trial whose report is below `lower`, above `upper`, or NaN; one of them is given."""

    class_name = "ThresholdPruner"

    name: Literal["threshold"] = Field(description=_NAME)
    lower: _Lower = None
    upper: _Upper = None
    n_warmup_steps: _WarmupSteps = None
    interval_steps: _IntervalSteps = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.lower is None and self.upper is None:
            refuse_keys(self, {"upper": "lower or upper"})
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            refuse_keys(self, {"lower": f"at most upper, which is {self.upper:g}"})
        return self


class Wilcoxon(Pruner):
    """Prunes a trial that is worse than the best one by a signed-rank test; a step is an instance.

    Made for values over many instances, such as folds of a cross-validation.
    """

    class_name = "WilcoxonPruner"

    name: Literal["wilcoxon"] = Field(description=_NAME)
    p_threshold: _PThreshold = None
    n_startup_steps: _StartupSteps = None


class SuccessiveHalving(Pruner):
    """Lets only the best trials of each rung go on to the next, which costs several times as many steps."""

    class_name = "SuccessiveHalvingPruner"
    has_rungs = True

    name: Literal["successive-halving"] = Field(description=_NAME)
    min_resource: Annotated[_Resource, _First]
    reduction_factor: _ReductionFactor = None
    min_early_stopping_rate: _LeftOut = None
    bootstrap_count: _BootstrapCount = None


class Hyperband(Pruner):
    """Several `successive-halving` side by side, which differ in their first rung; each trial is in one.

    The sampler learns only from trials of the same one.
    """

    class_name = "HyperbandPruner"
    has_rungs = True

    name: Literal["hyperband"] = Field(description=_NAME)
    max_resource: Annotated[_Resource, _Whole]
    min_resource: Annotated[_Resource | None, _First] = None
    reduction_factor: _ReductionFactor = None
    bootstrap_count: _BootstrapCount = None

    @model_validator(mode="after")
    def _has_a_bracket(self) -> Self:
        if self.max_resource < (self.min_resource or 1):
            refuse_keys(self, {"max_resource": f"at least min_resource, which is {self.min_resource}"})
        return self


_WRAPPED: Mapping[str, type[Pruner]] = by_name(
    Median, Percentile, Threshold, Wilcoxon, SuccessiveHalving, Hyperband
)


class Patient(Pruner):
    """Prunes a trial without a better report for `patience` steps, if the rule `wrapped`, if any, agrees.

    The keywords of that rule stand beside it.
    """

    class_name = "PatientPruner"
    ours = Pruner.ours.union(*(model.option_names() for model in _WRAPPED.values()))
    withheld: ClassVar[Mapping[str, str]] = {"wrapped_pruner": "a keyword that takes a Python object"}

    name: Literal["patient"] = Field(description=_NAME)
    patience: Annotated[int, Field(ge=0)] = Field(
        title="an integer of at least 0", description="So many steps without a better report are endured."
    )
    min_delta: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = Field(
        default=None, description="How much better counts as better. Default: 0."
    )
    wrapped: (
        Literal["median", "percentile", "threshold", "wilcoxon", "successive-halving", "hyperband"] | None
    ) = Field(default=None, description="The name of a rule that must agree. Default: none.")
    n_startup_trials: _StartupTrials = None
    n_warmup_steps: _WarmupSteps = None
    interval_steps: _IntervalSteps = None
    n_min_trials: _MinTrials = None
    percentile: Annotated[_Percentile | None, _Kept] = None
    lower: _Lower = None
    upper: _Upper = None
    p_threshold: _PThreshold = None
    n_startup_steps: _StartupSteps = None
    min_resource: Annotated[_Resource | None, _First] = None
    max_resource: Annotated[_Resource | None, _Whole] = None
    reduction_factor: _ReductionFactor = None
    min_early_stopping_rate: _LeftOut = None
    bootstrap_count: _BootstrapCount = None

    @property
    def keywords(self) -> dict[str, Any]:
        return {key: value for key, value in self.options.items() if key != "wrapped"}

    @property
    def deciding(self) -> Pruner | None:
        if self.wrapped is None:
            return None
        return _WRAPPED[self.wrapped].model_validate({**self._beside, "name": self.wrapped})

    @property
    def _beside(self) -> dict[str, Any]:
        """The keywords that are not its own."""
        return self.model_dump(include=set(self.ours - Pruner.ours), exclude_none=True, exclude_unset=True)

    @model_validator(mode="after")
    def _has_what_is_wrapped(self) -> Self:
        known = _WRAPPED[self.wrapped].option_names() if self.wrapped else frozenset()
        if foreign := {key: _owners(key) for key in self._beside if key not in known}:
            refuse_keys(self, {key: f"it only with wrapped = {owners}" for key, owners in foreign.items()})
        # Raises for what the wrapped rule itself refuses or lacks, at the same keys.
        _ = self.deciding
        return self

    @classmethod
    def expected_at(cls, key: str) -> str | None:
        return super().expected_at(key) or next(
            filter(None, (model.expected_at(key) for model in _WRAPPED.values())), None
        )


def _owners(keyword: str) -> str:
    return alternatives(f'"{name}"' for name, model in _WRAPPED.items() if keyword in model.option_names())


CHOICE = Choice(key="name")

AnyPruner = Annotated[
    Annotated[Median, Tag("median")]
    | Annotated[Percentile, Tag("percentile")]
    | Annotated[Threshold, Tag("threshold")]
    | Annotated[Patient, Tag("patient")]
    | Annotated[Wilcoxon, Tag("wilcoxon")]
    | Annotated[SuccessiveHalving, Tag("successive-halving")]
    | Annotated[Hyperband, Tag("hyperband")],
    Discriminator(CHOICE.of),
]

PRUNERS: Mapping[str, type[Pruner]] = by_name(
    Median, Percentile, Threshold, Patient, Wilcoxon, SuccessiveHalving, Hyperband
)
