"""TPE with the parameters of finished trials at hand.

Optuna's own turns each parameter of each trial into a number again at each draw, which is the largest part of
a draw beside thousands of trials. This room must never change which point is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from optuna.samplers import TPESampler

from tuned.storage.frozen_trials import KnownTrial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


class Tpe(TPESampler):
    """Optuna's sampler, point for point."""

    def _get_internal_repr(
        self, trials: Sequence[FrozenTrial], search_space: Mapping[str, BaseDistribution], study: Study
    ) -> dict[str, np.ndarray]:
        names = search_space.keys()
        found = (self._internal(trial, search_space, study) for trial in trials)
        rows = [row for row in found if names <= row.keys()]
        return {name: np.array([row[name] for row in rows]) for name in names}

    def _internal(
        self, trial: FrozenTrial, space: Mapping[str, BaseDistribution], study: Study
    ) -> Mapping[str, float]:
        if isinstance(trial, KnownTrial) and trial.state.is_finished():
            return trial.internal
        # Another program may have noted its parameters in an attribute only, so far.
        params = self._get_params(trial, study)
        return {name: each.to_internal_repr(params[name]) for name, each in space.items() if name in params}
