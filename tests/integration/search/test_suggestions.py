"""Points whose parameters depend on each other, as Optuna's samplers draw them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from tests.factories import CONDITIONAL, make_experiment, opened
from tests.integration.search.drawing import evaluate, search, visible
from tuned.domain.claim import Claimed, Origin
from tuned.experiment.samplers import SAMPLERS, missing_packages
from tuned.search.suggestions import Apart
from tuned.storage.database import Database
from tuned.storage.trials.enqueued import Misfit

DRAWN = [name for name, entry in SAMPLERS.items() if not entry.is_walk and not missing_packages(name)]

#: Two branches; the first has a forbidden half.
BRANCHES = """
[space.kind]
type = "categorical"
choices = ["a", "b"]

[space.share]
type = "float"
low = 0.0
high = 1.0

[space.depth]
type = "int"
low = 1
high = 8
when = { kind = "a" }

[space.rate]
type = "float"
low = 1e-3
high = 1.0
log = true
when = { depth = { min = 3 } }

[[forbid]]
kind = "a"
share = { min = 0.5 }
"""

#: Nearly everything is forbidden.
NARROW = """
[space.x]
type = "int"
low = 0
high = 9999

[[forbid]]
x = { min = 2 }
"""


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    with opened(sqlite_url) as database:
        yield database


@pytest.mark.parametrize("space", [CONDITIONAL, BRANCHES], ids=["finite", "infinite"])
@pytest.mark.parametrize("sampler", DRAWN)
def test_each_sampler_draws_allowed_points_with_the_parameters_that_exist(
    database: Database, sampler: str, space: str
) -> None:
    member = search(database, sampler, space=space)
    source = member.source()
    for number in range(20):
        point = evaluate(member, source, number % 7)
        assert point == member.encoding.space.point(point.values)
    for trial in member.trials():
        expected = {name: member.encoding.distributions[name] for name in trial.params}
        assert trial.distributions == expected
    assert len({len(trial.params) for trial in member.trials()}) > 1


def test_a_sampler_that_draws_what_is_forbidden_gives_way_to_a_random_point(database: Database) -> None:
    source = search(database, "random", space=NARROW).source()
    drafts = [source.draw() for _ in range(8)]
    assert {draft.candidate.point.values["x"] for draft in drafts} == {0, 1}
    assert {draft.candidate.origin for draft in drafts} == {Origin.WALK}
    assert len(visible(source, TrialState.RUNNING)) == 8


@pytest.mark.parametrize("given", ["", "multivariate = true", "group = true"])
def test_tpe_models_parameters_with_conditions_in_groups(given: str) -> None:
    experiment = make_experiment(f'[sampler]\nname = "tpe"\n{given}', space=CONDITIONAL)
    assert experiment.sampler.options_for(experiment.space) == {"multivariate": True, "group": True}
    plain = make_experiment(f'[sampler]\nname = "tpe"\n{given}')
    assert plain.sampler.options_for(plain.space) == plain.sampler.options


def test_a_file_may_exclude_groups() -> None:
    experiment = make_experiment('[sampler]\nname = "tpe"\ngroup = false', space=CONDITIONAL)
    assert experiment.sampler.options_for(experiment.space) == {"group": False}


def test_tpe_finds_the_best_of_each_branch(database: Database) -> None:
    member = search(database, "tpe", space=BRANCHES)
    source = member.source()
    assert isinstance(source._study.sampler, TPESampler)  # type: ignore[union-attr]
    for _ in range(40):
        draft = source.draw()
        claimed = member.claims.claim(draft.candidate)
        source.release(draft)
        assert isinstance(claimed, Claimed)
        member.tell(claimed, float(claimed.point.values.get("rate", 1.0)))
    rates = [trial.params["rate"] for trial in member.trials()[-15:] if "rate" in trial.params]
    assert min(rates) < 0.02


@pytest.mark.parametrize("sampler", [name for name in DRAWN if SAMPLERS[name].for_conditions is None])
def test_a_model_without_conditions_has_the_parameters_that_all_trials_have(
    database: Database, sampler: str
) -> None:
    member = search(database, sampler, space=BRANCHES)
    source = member.source()
    study = source._study
    assert study is not None
    assert isinstance(study.sampler, Apart)
    while len(member.trials()) < 4:
        evaluate(member, source)
    source.draw()
    inferred = study.sampler.infer_relative_search_space(study, visible(source, TrialState.RUNNING)[0])
    assert inferred.keys() <= {"kind", "share"}
    assert "share" in inferred


def test_cma_es_keeps_its_model_though_the_first_trials_have_more_parameters(database: Database) -> None:
    member = search(database, "cmaes", space=BRANCHES)
    source = member.source()
    member.tell(member.take(kind="a", depth=8, share=0.25, rate=0.5), 1.0)
    member.tell(member.take(kind="b", share=0.75), 0.5)
    for number in range(6):
        evaluate(member, source, float(number))
    assert any(key.startswith("cma:") for key in member.trials()[-1].system_attrs)


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
@pytest.mark.parametrize(
    ("fixed", "told"),
    [
        ({"optimizer": "adam", "momentum": 0.1, "size": 1}, "momentum has a value, but exists only with"),
        ({"optimizer": "adam", "size": 5, "decay": "fast"}, 'size = 5 and decay = "fast" is forbidden'),
    ],
)
def test_an_enqueued_trial_whose_values_exclude_each_other_is_refused(
    database: Database, sampler: str, fixed: dict[str, Any], told: str
) -> None:
    source = search(database, sampler, space=CONDITIONAL).source()
    with pytest.raises(Misfit, match=told):
        source.complete(fixed, 7)


@pytest.mark.parametrize("fixed", [{"momentum": 0.1}, {"size": 5}, {"decay": "fast"}, {"optimizer": "sgd"}])
def test_what_an_enqueued_trial_leaves_open_is_drawn_so_that_its_values_exist(
    database: Database, fixed: dict[str, Any]
) -> None:
    member = search(database, "random", space=CONDITIONAL)
    source = member.source()
    for _ in range(5):
        candidate = source.complete(fixed, 7).candidate
        assert fixed.items() <= candidate.point.values.items()
        assert (candidate.origin, candidate.waiting_trial) == (Origin.ENQUEUED, 7)
