"""The table of samplers, held against Optuna."""

from __future__ import annotations

import inspect

import optuna
import pytest

from tuned.experiment import samplers
from tuned.experiment.samplers import SAMPLERS, Option, option_problems

_OPTUNAS = {name: entry for name, entry in SAMPLERS.items() if entry.class_name}


def _keywords(name: str) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(getattr(optuna.samplers, str(SAMPLERS[name].class_name)).__init__)
    return {key: parameter for key, parameter in signature.parameters.items() if key != "self"}


@pytest.mark.parametrize("name", _OPTUNAS)
def test_every_keyword_of_optuna_is_offered_or_withheld(name: str) -> None:
    entry = SAMPLERS[name]
    assert {"seed", *entry.options, *entry.withheld} == _keywords(name).keys()


@pytest.mark.parametrize("name", _OPTUNAS)
def test_a_keyword_takes_the_type_that_optuna_says(name: str) -> None:
    for keyword, option in SAMPLERS[name].options.items():
        assert str(_keywords(name)[keyword].annotation).split(" | ")[0] == option.kind.__name__, keyword


@pytest.mark.parametrize("name", _OPTUNAS)
def test_optunas_own_defaults_are_accepted(name: str) -> None:
    for keyword, option in SAMPLERS[name].options.items():
        default = _keywords(name)[keyword].default
        assert default is None or option.accepts(default), keyword


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, entry in _OPTUNAS.items() if entry.conflicts])
def test_optuna_refuses_what_the_table_calls_a_conflict(name: str) -> None:
    entry = SAMPLERS[name]
    for conflict in entry.conflicts:
        with pytest.raises(ValueError, match=f"{min(conflict)}|only be enabled"):
            getattr(optuna.samplers, str(entry.class_name))(**conflict)
        assert list(option_problems(name, conflict))


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
    assert not SAMPLERS[name].options


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        (Option(kind=int, low=1), [1, 99], [0, 1.0, True, "1", None]),
        (Option(kind=float, low=0.0, high=1.0), [0, 0.5, 1], [1.1, -0.1, True, float("nan"), "0.5"]),
        (Option(kind=bool), [True, False], [0, 1, "true"]),
        (Option(kind=str, choices=("a", "b")), ["a"], ["c", 1, ""]),
    ],
)
def test_an_option_takes_its_type_and_range_and_nothing_else(
    option: Option, good: list[object], bad: list[object]
) -> None:
    assert all(option.accepts(value) for value in good)
    assert not any(option.accepts(value) for value in bad)


def test_a_sampler_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert samplers.missing_packages("tpe") is None
    message = samplers.missing_packages("gp")
    assert message is not None
    assert message.endswith("pip install scipy torch")
