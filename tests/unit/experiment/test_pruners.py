"""The pruners' models, held against Optuna."""

from __future__ import annotations

import inspect

import optuna
import pytest

from tests.factories import make_experiment
from tuned.errors import InvalidInput
from tuned.experiment.pruners import PRUNERS, Patient, Pruner


def pruner(table: str, extra: str = "") -> Pruner:
    found = make_experiment(f"{extra}\n[pruner]\n{table}").pruner
    assert found is not None
    return found


def refused(table: str, extra: str = "") -> str:
    with pytest.raises(InvalidInput) as caught:
        pruner(table, extra)
    return str(caught.value).removeprefix("exp.toml: ")


def _keywords(name: str) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(getattr(optuna.pruners, PRUNERS[name].class_name).__init__)
    return {key: parameter for key, parameter in signature.parameters.items() if key != "self"}


@pytest.mark.parametrize("name", PRUNERS)
def test_every_keyword_of_optuna_is_offered_or_withheld(name: str) -> None:
    entry = PRUNERS[name]
    offered = {*entry.option_names(), *entry.withheld} - ({"wrapped"} if entry is Patient else set())
    assert offered == _keywords(name).keys()


def test_every_pruner_of_optuna_is_known_but_those_that_do_nothing() -> None:
    classes = {key for key, value in vars(optuna.pruners).items() if inspect.isclass(value)}
    assert classes - {entry.class_name for entry in PRUNERS.values()} == {"BasePruner", "NopPruner"}


@pytest.mark.parametrize("name", PRUNERS)
def test_a_default_that_is_described_is_optunas(name: str) -> None:
    for keyword in PRUNERS[name].option_names() & _keywords(name).keys():
        said = (PRUNERS[name].model_fields[keyword].description or "").partition("Default: ")[2]
        default = _keywords(name)[keyword].default
        if keyword == "reduction_factor":
            assert said == "4, of `hyperband` 3."
            assert default == (3 if name == "hyperband" else 4)
        elif said:
            assert float(said.removesuffix(".")) == default, keyword


def test_a_patient_pruner_may_wrap_another_and_takes_its_keywords() -> None:
    alone = pruner('name = "patient"\npatience = 2')
    assert (alone.keywords, alone.deciding) == ({"patience": 2}, None)
    wrapping = pruner(
        'name = "patient"\npatience = 2\nmin_delta = 0.5\nwrapped = "median"\ninterval_steps = 3'
    )
    assert wrapping.keywords == {"patience": 2, "min_delta": 0.5}
    assert wrapping.deciding == pruner('name = "median"\ninterval_steps = 3')


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("n_startup_trials = 1", 'pruner.name: found nothing, expected "median", "percentile"'),
        ('name = "medium"', 'pruner.name: found "medium", expected "median", "percentile"'),
        ('name = "median"\npercentile = 3', "found an unknown keyword of the pruner median"),
        ('name = "median"\nn_warmup_steps = -1', "found -1, expected an integer of at least 0"),
        ('name = "percentile"', "pruner.percentile: found nothing, expected a number from 0 to 100"),
        ('name = "successive-halving"', "pruner.min_resource: found nothing, expected an integer"),
        ('name = "successive-halving"\nmin_resource = "auto"',
         'found "auto", expected an integer of at least 1; not "auto", which would differ between hosts'),
        ('name = "hyperband"\nmax_resource = "auto"', 'not "auto", which would differ between hosts'),
        ('name = "hyperband"\nmax_resource = 2\nmin_resource = 3', "found 2, expected at least min_resource"),
        ('name = "threshold"', "pruner.upper: found nothing, expected lower or upper"),
        ('name = "threshold"\nlower = 2.0\nupper = 1.0', "pruner.lower: found 2.0, expected at most upper"),
        ('name = "patient"\npatience = 1\nlower = 0.5', 'expected it only with wrapped = "threshold"'),
        ('name = "patient"\npatience = 1\nwrapped = "percentile"', "pruner.percentile: found nothing"),
        ('name = "patient"\npatience = 1\nwrapped = "patient"', 'pruner.wrapped: found "patient"'),
        ('name = "median"\nobjective = 1', "pruner.objective: found 1, expected 0, because"),
    ],
)  # fmt: skip
def test_a_pruner_that_optuna_would_refuse_is_told_by_its_key(table: str, problem: str) -> None:
    assert problem in refused(table)


def test_a_rule_looks_at_one_of_the_objectives() -> None:
    several = 'directions = ["minimize", "maximize"]'
    assert pruner('name = "median"\nobjective = 1', several).objective == 1
    assert "found 2, expected 0 or 1" in refused('name = "median"\nobjective = 2', several)
