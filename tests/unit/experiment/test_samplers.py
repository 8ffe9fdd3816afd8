"""The samplers' models, held against Optuna."""

from __future__ import annotations

import inspect
import types
from typing import Annotated, Any, Literal, get_args, get_origin

import optuna
import pytest
from pydantic import ValidationError

from tuned.experiment import samplers
from tuned.experiment.samplers import SAMPLERS, conflicting

_OPTUNAS = {name: entry for name, entry in SAMPLERS.items() if entry.class_name}


def _kind(annotation: Any) -> str:
    """The plain type of a keyword's annotation."""
    if get_origin(annotation) is Annotated or types.NoneType in get_args(annotation):
        return _kind(get_args(annotation)[0])
    return "str" if get_origin(annotation) is Literal else str(annotation.__name__)


def _accepts(name: str, keyword: str, value: object) -> bool:
    """Whether a file may give the keyword this value."""
    try:
        SAMPLERS[name].model_validate({"name": name, keyword: value})
    except ValidationError:
        return False
    return value is not None


def _keywords(name: str) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(getattr(optuna.samplers, str(SAMPLERS[name].class_name)).__init__)
    return {key: parameter for key, parameter in signature.parameters.items() if key != "self"}


@pytest.mark.parametrize("name", _OPTUNAS)
def test_every_keyword_of_optuna_is_offered_or_withheld(name: str) -> None:
    entry = SAMPLERS[name]
    assert {"seed", *entry.option_names(), *entry.withheld} == _keywords(name).keys()


@pytest.mark.parametrize("name", _OPTUNAS)
def test_a_keyword_takes_the_type_that_optuna_says(name: str) -> None:
    for keyword in SAMPLERS[name].option_names():
        kind = _kind(SAMPLERS[name].model_fields[keyword].annotation)
        assert str(_keywords(name)[keyword].annotation).split(" | ")[0] == kind, keyword


@pytest.mark.parametrize("name", _OPTUNAS)
def test_optunas_own_defaults_are_accepted(name: str) -> None:
    for keyword in SAMPLERS[name].option_names():
        default = _keywords(name)[keyword].default
        assert default is None or _accepts(name, keyword, default), keyword


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, entry in _OPTUNAS.items() if entry.conflicts])
def test_optuna_refuses_what_the_table_calls_a_conflict(name: str) -> None:
    entry = SAMPLERS[name]
    for conflict in entry.conflicts:
        with pytest.raises(ValueError, match=f"{min(conflict)}|only be enabled"):
            getattr(optuna.samplers, str(entry.class_name))(**conflict)
        assert conflicting(entry, conflict)


def test_every_sampler_of_optuna_is_known_but_those_that_are_tools_for_others() -> None:
    classes = {key for key, value in vars(optuna.samplers).items() if inspect.isclass(value)}
    ours = {entry.class_name for entry in SAMPLERS.values()}
    tools = {"BaseSampler", "BaseGASampler", "PartialFixedSampler"}
    assert classes - ours == tools | {"GridSampler", "BruteForceSampler"}


def test_the_samplers_for_one_objective_are_those_where_optuna_says_so() -> None:
    single = {name for name, entry in SAMPLERS.items() if entry.is_single_objective}
    asking = {
        name
        for name, entry in _OPTUNAS.items()
        if "_raise_error_if_multi_objective"
        in inspect.getsource(getattr(optuna.samplers, str(entry.class_name)))
    }
    assert single == asking == {"cmaes"}


@pytest.mark.parametrize("name", ["grid", "bruteforce"])
def test_grid_and_brute_force_are_our_own_walk_and_take_no_keywords(name: str) -> None:
    assert SAMPLERS[name].is_walk
    assert not SAMPLERS[name].option_names()


@pytest.mark.parametrize(
    ("name", "keyword", "good", "bad"),
    [
        ("tpe", "n_ei_candidates", [1, 99], [0, 1.0, True, "1", None]),
        ("nsgaii", "mutation_prob", [0, 0.5, 1], [1.1, -0.1, True, float("nan"), "0.5"]),
        ("tpe", "group", [True, False], [0, 1, "true"]),
        ("qmc", "qmc_type", ["sobol"], ["c", 1, ""]),
    ],
)
def test_an_option_takes_its_type_and_range_and_nothing_else(
    name: str, keyword: str, good: list[object], bad: list[object]
) -> None:
    assert all(_accepts(name, keyword, value) for value in good)
    assert not any(_accepts(name, keyword, value) for value in bad)


def test_options_are_the_keywords_that_were_given() -> None:
    given = SAMPLERS["tpe"].model_validate({"name": "tpe", "seed": 1, "group": True, "constant_liar": False})
    assert given.options == {"constant_liar": False, "group": True}


def test_a_sampler_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert samplers.missing_packages("tpe") is None
    message = samplers.missing_packages("gp")
    assert message is not None
    assert message.endswith("pip install scipy torch")
