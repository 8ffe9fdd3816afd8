"""A host that draws points of a plane, and the trials that its sampler sees."""

from __future__ import annotations

from dataclasses import replace

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from tests.factories import Member, join, make_experiment
from tuned.domain.claim import Claimed
from tuned.domain.space import Point
from tuned.search.sampling import PointSource
from tuned.storage.database import Database

#: Options by which a sampler soon does more than to draw at random.
EAGER = {
    "tpe": "n_startup_trials = 2",
    "cmaes": "n_startup_trials = 1",
    "gp": "n_startup_trials = 2",
    "nsgaii": "population_size = 3",
    "nsgaiii": "population_size = 3",
}

PLANE = """
[space.x]
type = "float"
low = 0.0
high = 1.0

[space.y]
type = "float"
low = 1.0
high = 2.0
"""


def search(
    database: Database,
    sampler: str,
    *,
    space: str = PLANE,
    seed: int = 1,
    name: str = "exp",
    host: str = "h1",
) -> Member:
    options = EAGER.get(sampler, "")
    text = f'[sampler]\nname = "{sampler}"\nseed = {seed}\n{options}'
    return join(database, make_experiment(text, space=space, name=name), host)


def visible(source: PointSource, state: TrialState) -> list[FrozenTrial]:
    """The trials that a sampler sees."""
    return source._storage.get_all_trials(0, states=(state,))


def evaluate(member: Member, source: PointSource, value: float = 0.5) -> Point:
    """Draws, claims and tells one point; of a duplicate nothing."""
    draft = source.draw()
    outcome = member.claims.claim(draft.candidate)
    source.release(draft)
    if isinstance(outcome, Claimed):
        member.tell(outcome, value)
    return draft.candidate.point


class Probe(RandomSampler):
    """Draws at random, and remembers which values each draw knew."""

    def __init__(self) -> None:
        super().__init__(seed=1)
        self.known: list[list[float | None]] = []

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self.known.append([each.value for each in whole])
        return {}


def probed(source: PointSource) -> Probe:
    """Lets a probe draw for this source. Its draws take no time, so that none is made ahead."""
    assert source._study is not None
    source._study.sampler = probe = Probe()
    draw = source.draw
    source.draw = lambda: replace(draw(), seconds=0.0)  # type: ignore[method-assign]
    return probe
