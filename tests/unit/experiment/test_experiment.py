"""One experiment: its definition, its command, and files that are damaged."""

from __future__ import annotations

import copy
import json
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import CONDITIONAL
from tests.unit.experiment.sources import (
    FULL,
    LR,
    MINIMAL,
    NAME,
    python,
    read,
    sampler,
    told,
    with_parts,
)
from tuned.errors import InvalidInput
from tuned.experiment import samplers
from tuned.experiment.experiment import defined, parse, text


def test_the_command_gets_its_parameters_and_braces() -> None:
    experiment = read(FULL)
    assert experiment.argv(experiment.points[0]) == ("python3", "train.py", "--size=16", "{adam}")


def test_an_argument_that_names_a_parameter_that_does_not_exist_is_left_out() -> None:
    words = '["a", "--momentum={momentum}", "{optimizer}-{size}", "{{{optimizer}}}"]'
    experiment = read(with_parts(head=f"[objective]\ncommand = {words}", space=CONDITIONAL))
    sgd = experiment.space.point({"optimizer": "sgd", "momentum": 0.1})
    adam = experiment.space.point({"optimizer": "adam", "size": 1})
    assert experiment.argv(sgd) == ("a", "--momentum=0.1", "{sgd}")
    assert experiment.argv(adam) == ("a", "adam-1", "{adam}")


def test_conditions_and_forbidden_combinations_are_in_the_definition() -> None:
    experiment = read(with_parts(head='[objective]\ncommand = ["a"]', space=CONDITIONAL))
    again = defined(experiment.definition(), "minima")
    assert (again.space, again.space.size) == (experiment.space, 11)


@pytest.mark.parametrize(
    "file", [FULL, MINIMAL, with_parts(head='[objective]\ncommand = ["a"]', space=CONDITIONAL)]
)
def test_an_evaluation_goes_on_by_the_whole_of_its_experiment(file: str) -> None:
    experiment = read(file)
    assert defined(experiment.whole(), experiment.name) == replace(experiment, points=())


@pytest.mark.parametrize(("value", "expected"), [(True, "true"), (3, "3"), (1e-5, "1e-05"), ("a b", "a b")])
def test_a_value_is_text_as_toml_writes_it(value: Any, expected: str) -> None:
    assert text(value) == expected


@pytest.mark.parametrize("stem", ["-", "a b", ".hidden"])
def test_a_file_without_a_name_of_its_own_needs_one_that_does(stem: str) -> None:
    (line,) = told(MINIMAL, f"{stem}.toml")
    assert f'name: found none, and the file\'s name "{stem}" does not do, expected {NAME}' in line


@pytest.mark.parametrize("name", [name for name, entry in samplers.SAMPLERS.items() if not entry.is_walk])
def test_every_sampler_takes_categorical_parameters(name: str) -> None:
    space = LR + '[space.c]\ntype = "categorical"\nchoices = ["a"]'
    assert read(sampler(f'name = "{name}"', space)).sampler.name == name


_WORDS = st.text(string.ascii_letters, min_size=1, max_size=8)

_FLOATS = st.floats(-1e6, 1e6, allow_nan=False)

_SPANS = st.one_of(st.integers(1, 10**6), st.floats(0.001, 1e6), st.just("1h 30min"))


@st.composite
def _int_table(draw: st.DrawFn) -> dict[str, Any]:
    low, width, step = draw(st.integers(1, 99)), draw(st.integers(0, 99)), draw(st.integers(1, 9))
    return {
        "type": "int",
        "low": low,
        "high": low + width,
        "step": step,
        "log": step == 1 and draw(st.booleans()),
    }


@st.composite
def _float_table(draw: st.DrawFn) -> dict[str, Any]:
    low, high = sorted((draw(_FLOATS), draw(_FLOATS)))
    table: dict[str, Any] = {"type": "float", "low": low, "high": high}
    return table | draw(st.sampled_from([{}, {"step": 0.25}, {"step": 7}, {"log": False}]))


_CHOICE_LISTS = st.lists(
    st.one_of(st.text(st.characters(exclude_characters="\0", codec="utf-8")), _FLOATS),
    unique=True,
    min_size=1,
)

_TABLES = st.one_of(
    _int_table(), _float_table(), st.builds(lambda c: {"type": "categorical", "choices": c}, _CHOICE_LISTS)
)


@st.composite
def _documents(draw: st.DrawFn) -> dict[str, Any]:
    space = draw(st.dictionaries(_WORDS.map(str.lower), _TABLES, min_size=1, max_size=4))
    name, option = draw(
        st.sampled_from([("tpe", {"group": True}), ("qmc", {"qmc_type": "halton"}), ("random", {})])
    )
    document = {
        "name": draw(_WORDS),
        "parallel": draw(st.integers(1, 99)),
        "directions": draw(st.lists(st.sampled_from(["minimize", "maximize"]), min_size=1, max_size=3)),
        "objective": {"command": ["run", *(f"{{{name}}}" for name in space)], "timeout": draw(_SPANS)},
        "space": space,
        "sampler": {
            "name": name,
            "seed": draw(st.integers(0, 2**32 - 1)),
            **draw(st.sampled_from([{}, option])),
        },
        "budget": {"trials": draw(st.integers(1, 10**6)), "time": draw(_SPANS)},
        "retry": {"attempts": draw(st.integers(0, 9))},
    }
    for key in draw(st.sets(st.sampled_from(["parallel", "directions", "sampler", "budget", "retry"]))):
        del document[key]
    return document


def _toml(document: dict[str, Any]) -> str:
    """As one line per key, so that nothing but JSON's strings and numbers has to be written."""
    return "\n".join(_toml_lines("", document)) + "\n"


def _toml_lines(prefix: str, value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return [
            line for key, inner in value.items() for line in _toml_lines(f"{prefix}.{json.dumps(key)}", inner)
        ]
    return [f"{prefix[1:]} = {_toml_value(value)}"]


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(_documents())
def test_a_definition_is_read_back_exactly(document: dict[str, Any]) -> None:
    mine = read(_toml(document))
    assert mine.adopt(mine.definition()) == mine
    assert mine.adopt(mine.definition()).definition() == mine.definition()


def test_points_and_pattern_are_in_the_definition() -> None:
    mine = read(FULL)
    assert mine.adopt(mine.definition()) == mine


def test_the_definition_wins_over_the_file_but_local_keys_stay() -> None:
    mine = read(FULL)
    theirs = read(
        FULL.replace("trials = 100", "trials = 7").replace("/srv", "/elsewhere").replace("= 4", "= 9")
    )
    adopted = mine.adopt(theirs.definition())
    assert adopted.budget.trials == 7
    assert (adopted.parallel, adopted.objective.workdir) == (4, "/srv/minima")
    assert adopted.objective.env == mine.objective.env
    assert adopted.resources == mine.resources


def test_the_interpreter_is_for_each_host_to_say() -> None:
    mine, theirs = (read(python(f'python = "a:b"\ninterpreter = "/{name}/python"')) for name in ("a", "b"))
    assert mine.definition() == theirs.definition()
    assert mine.adopt(theirs.definition()).objective.interpreter == "/a/python"


def test_whether_trials_are_forked_is_for_each_host_to_say() -> None:
    mine, theirs = (read(python(f'python = "a:b"\nfork = {word}')) for word in ("false", "true"))
    assert mine.definition() == theirs.definition() == read(python('python = "a:b"')).definition()
    assert not mine.adopt(theirs.definition()).objective.fork
    assert theirs.adopt(mine.definition()).objective.fork


@pytest.mark.parametrize("definition", ["", "{", "3", "[]", "{}", '{"name": "x", "new": 1}', "[" * 10**5])
def test_a_definition_that_cannot_be_read_is_refused(definition: str) -> None:
    with pytest.raises(InvalidInput, match=r"^definition of minima in the database: "):
        read(FULL).adopt(definition)


_JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["tpe", "grid", "{", "{lr}", "1h", "(?P<value>.)", "a:b", "/srv", "int", "float"]),
    st.lists(st.one_of(st.integers(0, 2), st.text(max_size=2)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def _tables_of(value: Any) -> list[Any]:
    """The containers in a document, itself included."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (
        [value, *(t for v in inner for t in _tables_of(v))]
        if isinstance(value, dict | list) and value
        else []
    )


@st.composite
def _damaged(draw: st.DrawFn) -> dict[str, Any]:
    document = copy.deepcopy(_DOCUMENT)
    for _ in range(draw(st.integers(1, 4))):
        table = draw(st.sampled_from(_tables_of(document) or [{"x": 1}]))
        key = draw(st.sampled_from(list(table) if isinstance(table, dict) else range(len(table))))
        junk = draw(_JUNK)
        if junk is None:
            del table[key]
        elif isinstance(table, dict) and draw(st.booleans()):
            table[draw(st.text(max_size=6))] = junk
        else:
            table[key] = junk
    return document


def _parses_or_tells(source: bytes) -> None:
    try:
        parse(source, "x.toml")
    except InvalidInput as error:
        problems, lines = error.problems, str(error).split("\n")
    else:
        return
    assert problems
    assert len(problems) == len(lines)
    assert all(problem.file == "x.toml" for problem in problems)
    assert all(problem.found and problem.expected for problem in problems)
    assert all(line.isprintable() for line in lines)


_DOCUMENT: dict[str, Any] = {
    **json.loads(read(FULL).definition()),
    "parallel": 4,
    "resources": {"memory": "4G", "cpus": 0.5, "gpus": 2},
}


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(_damaged())
def test_a_damaged_document_parses_or_is_refused_in_words(document: dict[str, Any]) -> None:
    source = _toml(document) if document else ""
    _parses_or_tells(source.replace("NaN", "nan").replace("Infinity", "inf").encode("utf-8", "surrogatepass"))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(FULL)), st.integers(0, 40), st.binary(max_size=6))
def test_a_file_with_damaged_bytes_parses_or_is_refused_in_words(
    start: int, length: int, junk: bytes
) -> None:
    source = FULL.encode()
    _parses_or_tells(source[:start] + junk + source[start + length :])
