"""Asks Optuna for the parameters of a draft: parents first, and only those that exist with their values.

So a draft is what an objective that asks for one parameter after the other would get, and Optuna's plots and
other workers understand it. Nothing here may know where drafts are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler

if TYPE_CHECKING:
    from collections.abc import Collection

    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from tuned.domain.space import Value
    from tuned.storage.encoding import Encoding


def suggest(study: Study, encoding: Encoding) -> None:
    """Draws a new trial of the study with all parameters that exist in it. Raises what the sampler raises."""
    trial = study.ask()
    values: dict[str, Value] = {}
    for parameter in encoding.space.ordered:
        name = parameter.name
        if encoding.space.exists(name, values):
            values[name] = trial._suggest(name, encoding.distributions[name])  # noqa: SLF001 (as study.ask does)


class Apart(BaseSampler):
    """Draws some parameters by a sampler's model, and the others each by itself.

    For samplers whose model has the same parameters in each trial. CMA-ES for example gives up its model for
    good if the parameters that all trials have in common change after its first trials.
    """

    def __init__(self, sampler: BaseSampler, common: Collection[str]) -> None:
        self._sampler = sampler
        self._common = common

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        inferred = self._sampler.infer_relative_search_space(study, trial)
        return {name: distribution for name, distribution in inferred.items() if name in self._common}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)
