"""The experiment file: what it means, what is refused and with which words, and its definition."""

from __future__ import annotations

import copy
import json
import string
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuned.domain.resources import Resources
from tuned.errors import InvalidInput
from tuned.experiment import samplers
from tuned.experiment.differences import differences
from tuned.experiment.experiment import Experiment, parse, text
from tuned.experiment.json_schema import json_schema
from tuned.experiment.summary import summary

_HEAD = """
[objective]
command = ["./train.sh", "--lr={lr}"]
"""
_LR = """
[space.lr]
type = "float"
low = 1e-5
high = 1e-1
log = true
"""
_STEPPED = """
[space.lr]
type = "float"
low = 0
high = 1
step = 0.25
"""
_MINIMAL = _HEAD + _LR

_FULL = """
name = "minima"
directions = ["maximize"]
parallel = 4

[objective]
command = ["python3", "train.py", "--size={size}", "{{{optimizer}}}"]
workdir = "/srv/minima"
timeout = "2h"
env = { OMP_NUM_THREADS = "4" }

[objective.metric]
pattern = 'acc=(?P<value>[0-9.]+)'

[space.size]
type = "int"
low = 2
high = 64
step = 2

[space.lr]
type = "float"
low = 1e-5
high = 1e-1
log = true

[space.optimizer]
type = "categorical"
choices = ["adam", "sgd", 3, true]

[sampler]
name = "tpe"
seed = 42
multivariate = true

[budget]
trials = 100
evaluations = 60
time = "8h"

[dedup]
on_complete = "resample"
on_running = "wait"
patience = 5

[retry]
attempts = 1

[resources]
memory = "1.5G"
cpus = 2
pids = 512
gpus = 0.1

[[points]]
size = 16
lr = 1e-3
optimizer = "adam"
"""


def _parse(source: str, file: str = "minima.toml") -> Experiment:
    return parse(source.encode(), file)


def _problems(source: str, file: str = "x.toml") -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        _parse(source, file)
    return str(caught.value).splitlines()


def test_a_file_means_what_it_says() -> None:
    experiment = _parse(_FULL)
    assert (experiment.name, experiment.directions, experiment.parallel) == ("minima", ("maximize",), 4)
    assert experiment.objective.timeout == 7200
    assert experiment.objective.env == {"OMP_NUM_THREADS": "4"}
    assert experiment.objective.pattern == "acc=(?P<value>[0-9.]+)"
    assert [parameter.name for parameter in experiment.space.parameters] == ["size", "lr", "optimizer"]
    assert (experiment.sampler.seed, experiment.sampler.options) == (42, {"multivariate": True})
    assert (experiment.budget.trials, experiment.budget.evaluations, experiment.budget.time) == (
        100,
        60,
        28800,
    )
    assert (experiment.dedup.on_complete, experiment.dedup.on_running) == ("resample", "wait")
    assert (experiment.dedup.patience, experiment.retry.attempts) == (5, 1)
    assert experiment.resources == Resources(memory=3 * 2**29, cpus=2, pids=512, gpus=Fraction(1, 10))
    assert experiment.points[0].values == {"size": 16, "lr": 1e-3, "optimizer": "adam"}


def test_what_is_left_out_has_the_documented_default() -> None:
    experiment = _parse(_MINIMAL, "/var/spool/tuned/my-study.toml")
    assert (experiment.name, experiment.directions, experiment.parallel) == ("my-study", ("minimize",), None)
    assert (experiment.sampler.name, experiment.sampler.seed) == ("tpe", None)
    assert experiment.budget.trials is experiment.budget.evaluations is experiment.budget.time is None
    assert (experiment.dedup.on_complete, experiment.dedup.on_running) == ("reuse", "skip")
    assert (experiment.dedup.patience, experiment.retry.attempts, experiment.points) == (3, 0, ())
    assert experiment.resources == Resources()


def test_an_integer_does_for_a_float() -> None:
    assert _parse(_HEAD + _STEPPED).space.size == 5


def test_the_command_gets_its_parameters_and_braces() -> None:
    experiment = _parse(_FULL)
    assert experiment.argv(experiment.points[0]) == ("python3", "train.py", "--size=16", "{adam}")


@pytest.mark.parametrize(("value", "expected"), [(True, "true"), (3, "3"), (1e-5, "1e-05"), ("a b", "a b")])
def test_a_value_is_text_as_toml_writes_it(value: Any, expected: str) -> None:
    assert text(value) == expected


def _with(**tables: str) -> str:
    """The minimal file with some of its parts replaced or added; ``top`` stands before all tables."""
    top, head, space = tables.pop("top", ""), tables.pop("head", _HEAD), tables.pop("space", _LR)
    return f"{top}\n{head}\n{space}\n" + "\n".join(tables.values())


def _int(keys: str) -> str:
    return _with(space=f'[space.lr]\ntype = "int"\n{keys}')


def _float(keys: str) -> str:
    return _with(space=f'[space.lr]\ntype = "float"\n{keys}')


def _choices(choices: str) -> str:
    return _with(space=f'[space.lr]\ntype = "categorical"\nchoices = {choices}')


def _command(command: str, more: str = "") -> str:
    return _with(head=f"[objective]\ncommand = {command}\n{more}")


def _python(keys: str) -> str:
    return _with(head=f"[objective]\n{keys}")


def _resources(keys: str) -> str:
    return _with(resources=f"[resources]\n{keys}")


def _sampler(keys: str, space: str = _LR, top: str = "") -> str:
    return _with(top=top, space=space, sampler=f"[sampler]\n{keys}")


_TOP_KEYS = (
    "name, direction, directions, parallel, objective, space, sampler, budget, dedup, retry, resources "
    "or points"
)
_SIZE = 'bytes, or a number with K, M, G or T such as "4G", from 1M'
_GPUS = "a whole number of GPUs, or a part of one such as 0.5"
_NAME = "1 to 100 letters, digits, '.', '_' or '-', the first one a letter or digit"
_SPAN = 'a time span such as "90s", "1h 30min" or a number of seconds'
_EXACT = "an integer from -2**53 to 2**53 (the database holds floats)"
_HEADINGS = {
    "objective", "space", "sampler", "budget", "dedup", "retry", "resources", "points", "metric",
}  # fmt: skip
_ARGV = 'a program and its arguments, such as ["./train.sh"]'
_TWO = 'directions = ["minimize", "maximize"]'
_BOTH_CASES = _LR + _LR.replace("lr", "LR")
_KNOWN_SAMPLERS = "tpe, random, grid, bruteforce, cmaes, nsgaii, nsgaiii, qmc or gp"
_TPE_KEYS = "name, seed, n_startup_trials, n_ei_candidates, multivariate, group or constant_liar"

_REFUSED = {
    # the top
    "unknown key": (
        _with(top="nam = 1"),
        f"nam: found an unknown key, expected {_TOP_KEYS} (did you mean name?)",
    ),
    "strange key": (_with(top='"a b" = 1'), f'"a b": found an unknown key, expected {_TOP_KEYS}'),
    "name": (_with(top='name = "a b"'), f'name: found "a b", expected {_NAME}'),
    "name type": (_with(top="name = 3"), "name: found 3, expected a string"),
    "direction": (
        _with(top='direction = "up"'),
        'direction: found "up", expected "minimize" or "maximize"',
    ),
    "directions": (
        _with(top=f'direction = "minimize"\n{_TWO}'),
        "directions: found direction beside it, expected one of direction and directions",
    ),
    "no directions": (
        _with(top="directions = []"),
        "directions: found an empty array, expected an array that is not empty",
    ),
    "parallel": (_with(top="parallel = 0"), "parallel: found 0, expected at least 1"),
    "memory": (_resources("memory = 4"), f"resources.memory: found 4, expected {_SIZE}"),
    "memory unit": (_resources('memory = "4GB"'), f'resources.memory: found "4GB", expected {_SIZE}'),
    "memory float": (_resources("memory = 4e9"), f"resources.memory: found 4000000000.0, expected {_SIZE}"),
    "cpus": (_resources("cpus = 0"), "resources.cpus: found 0, expected at least 0.01"),
    "cpus inf": (_resources("cpus = inf"), "resources.cpus: found inf, expected at most 100000.0"),
    "pids": (_resources("pids = 0"), "resources.pids: found 0, expected at least 1"),
    "gpus": (_resources("gpus = 1.5"), f"resources.gpus: found 1.5, expected {_GPUS}"),
    "no gpus": (_resources("gpus = 0"), f"resources.gpus: found 0, expected {_GPUS}"),
    "gpus text": (_resources('gpus = "1"'), 'resources.gpus: found "1", expected a number'),
    "resource": (
        _resources("gpu = 1"),
        "resources.gpu: found an unknown key, expected memory, cpus, pids or gpus (did you mean gpus?)",
    ),
    "two kinds of gpus": (
        _with(
            head='[objective]\ncommand = ["a"]\nenv = { CUDA_VISIBLE_DEVICES = "0" }',
            resources="[resources]\ngpus = 1",
        ),
        (
            "objective.env.CUDA_VISIBLE_DEVICES: found resources.gpus beside it, expected one of them: "
            "tuned sets it for trials that are given GPUs"
        ),
    ),
    "parallel bool": (_with(top="parallel = true"), "parallel: found true, expected an integer"),
    # the objective
    "no objective": (_LR, "objective: found nothing, expected a table [objective] with a command"),
    "no command": (_python(""), "objective: found neither command nor python, expected one of them"),
    "command and python": (
        _command('["x"]', 'python = "a:b"'),
        "objective.python: found command beside it, expected one of command and python",
    ),
    "empty command": (
        _command("[]"),
        f"objective.command: found an empty array, expected {_ARGV}",
    ),
    "empty program": (
        _command('["", "x"]'),
        f"objective.command: found an array, expected {_ARGV}",
    ),
    "shell command": (_command('"./train.sh"'), 'objective.command: found "./train.sh", expected an array'),
    "argument": (_command('["a", 1]'), "objective.command[1]: found 1, expected a string"),
    "unknown parameter": (
        _command('["a", "{rl}"]'),
        "objective.command[1]: found the unknown parameter {rl}, expected lr; {{ is a brace",
    ),
    "no parameter": (
        _command('["a", "{}"]'),
        "objective.command[1]: found the unknown parameter {}, expected lr; {{ is a brace",
    ),
    "single brace": (
        _command('["a", "{lr"]'),
        "objective.command[1]: found a single {, expected {name}, or {{ for the character itself",
    ),
    "closing brace": (
        _command('["a", "}"]'),
        "objective.command[1]: found a single }, expected {name}, or }} for the character itself",
    ),
    "python": (
        _python('python = "train.py"'),
        'objective.python: found "train.py", expected "module:function", such as "train:objective"',
    ),
    "path": (
        _command('["a"]', 'path = "/srv"'),
        'objective.path: found "/srv", expected it only with python (use workdir or env)',
    ),
    "fork": (
        _command('["a"]', "fork = true"),
        "objective.fork: found true, expected it only with python",
    ),
    "workdir": (
        _command('["a"]', 'workdir = "srv"'),
        'objective.workdir: found "srv", expected an absolute path, such as "/srv/minima"',
    ),
    "timeout": (_command('["a"]', 'timeout = "soon"'), f'objective.timeout: found "soon", expected {_SPAN}'),
    "no time": (
        _command('["a"]', "timeout = 0"),
        "objective.timeout: found 0, expected a time span of more than 0",
    ),
    "env": (_command('["a"]', "env = { A = 1 }"), "objective.env.A: found 1, expected a string"),
    "env name": (
        _command('["a"]', 'env = { "A-B" = "1" }'),
        (
            'objective.env.A-B: found "A-B", '
            "expected a name of letters, digits and '_', not beginning with a digit"
        ),
    ),
    "env ours": (
        _command('["a"]', 'env = { TUNED_SLOT = "1" }'),
        'objective.env.TUNED_SLOT: found "TUNED_SLOT", expected a name that does not begin with TUNED_',
    ),
    # the metric
    "pattern": (
        _command('["a"]', "metric.pattern = '(?P<value>'"),
        'objective.metric.pattern: found "(?P<value>" (missing ): (?P<value>), expected a pattern of RE2',
    ),
    "backtracking": (
        _command('["a"]', r"metric.pattern = '(?P<value>a)\1'"),
        (
            r'objective.metric.pattern: found "(?P<value>a)\\1" (invalid escape sequence: \1), '
            "expected a pattern of RE2"
        ),
    ),
    "no value": (
        _command('["a"]', "metric.pattern = 'x=(.*)'"),
        'objective.metric.pattern: found no group value in "x=(.*)", expected a group (?P<value>...)',
    ),
    "other group": (
        _command('["a"]', "metric.pattern = '(?P<value>x)(?P<epoch>y)'"),
        (
            'objective.metric.pattern: found the group "epoch", '
            "expected only the groups value and step to have names"
        ),
    ),
    "long pattern": (
        _command('["a"]', f"metric.pattern = '{'x' * 1001}'"),
        "objective.metric.pattern: found 1001 characters, expected at most 1000",
    ),
    "metric without pattern": (
        _command('["a"]', "metric = {}"),
        "objective.metric.pattern: found nothing, expected a regular expression",
    ),
    "pattern and python": (
        _python('python = "a:b"\nmetric.pattern = "(?P<value>x)"'),
        "objective.metric: found a pattern for a Python function, expected it only with command",
    ),
    "pattern and directions": (
        _with(top=_TWO, head='[objective]\ncommand = ["a"]\nmetric.pattern = "(?P<value>x)"'),
        (
            "objective.metric: found a pattern and several directions, "
            'expected JSON lines with "values" in the output'
        ),
    ),
    # the space
    "no space": (_HEAD, "space: found nothing, expected a table [space.NAME] for each parameter"),
    "space": ("space = 3\n" + _HEAD, "space: found 3, expected a table"),
    "parameter name": (
        _with(space=_LR + _LR.replace("lr", "l-r")),
        (
            'space.l-r: found the name "l-r", '
            "expected a name of up to 64 letters, digits and '_', not beginning with a digit"
        ),
    ),
    "long parameter name": (
        _with(space=_LR + _LR.replace("lr", "r" * 65)),
        (
            f'space.{"r" * 59}…: found the name "{"r" * 59}…", '
            "expected a name of up to 64 letters, digits and '_', not beginning with a digit"
        ),
    ),
    "colliding names": (
        _with(space=_BOTH_CASES),
        "space.LR: found lr beside it, expected names that differ in more than upper and lower case",
    ),
    "no type": (
        _with(space="[space.lr]\nlow = 1"),
        'space.lr.type: found nothing, expected "int", "float" or "categorical"',
    ),
    "type": (
        _with(space='[space.lr]\ntype = "real"'),
        'space.lr.type: found "real", expected "int", "float" or "categorical"',
    ),
    "misspelled bound": (
        _int("low = 1\nhigh = 2\nstp = 3"),
        "space.lr.stp: found an unknown key, expected type, low, high, step or log (did you mean step?)",
    ),
    "no bound": (_int("low = 1"), "space.lr.high: found nothing, expected an integer"),
    "string bound": (_float('low = "1"\nhigh = 2'), 'space.lr.low: found "1", expected a number'),
    "boolean bound": (_float("low = true\nhigh = 2"), "space.lr.low: found true, expected a number"),
    "float bound": (_int("low = 1.0\nhigh = 2"), "space.lr.low: found 1.0, expected an integer"),
    "date bound": (
        _int("low = 1979-05-27\nhigh = 2"),
        "space.lr.low: found a date or time, expected an integer",
    ),
    "NaN": (_float("low = nan\nhigh = 2"), "space.lr.low: found nan, expected a finite number"),
    "infinity": (_float("low = 1\nhigh = inf"), "space.lr.high: found inf, expected a finite number"),
    "empty range": (_float("low = 2\nhigh = 1"), "space.lr.low: found 2.0, expected at most high (1.0)"),
    "empty int range": (_int("low = 2\nhigh = 1"), "space.lr.low: found 2, expected at most high (1)"),
    "range too wide": (
        _float("low = -1e308\nhigh = 1e308"),
        "space.lr.high: found 1e+308, expected a range that a float can hold",
    ),
    "large int": (
        _int(f"low = 0\nhigh = {2**53 + 1}"),
        f"space.lr.high: found {2**53 + 1}, expected {_EXACT}",
    ),
    "log": (
        _float("low = 0\nhigh = 1\nlog = true"),
        "space.lr.low: found 0.0, expected more than 0, because log = true",
    ),
    "int log": (
        _int("low = 0\nhigh = 1\nlog = true"),
        "space.lr.low: found 0, expected more than 0, because log = true",
    ),
    "log and step": (
        _float("low = 1\nhigh = 2\nstep = 0.5\nlog = true"),
        "space.lr.step: found 0.5, expected no step, because log = true",
    ),
    "int log and step": (
        _int("low = 1\nhigh = 9\nstep = 2\nlog = true"),
        "space.lr.step: found 2, expected no step, because log = true",
    ),
    "no step": (_float("low = 1\nhigh = 2\nstep = 0"), "space.lr.step: found 0, expected more than 0"),
    "no int step": (_int("low = 1\nhigh = 2\nstep = 0"), "space.lr.step: found 0, expected at least 1"),
    "step too fine": (
        _float("low = 1e6\nhigh = 1000001\nstep = 1e-6"),
        "space.lr.step: found 1e-06, expected at least 0.001, for floats of this size",
    ),
    "no choices": (
        _choices("[]"),
        "space.lr.choices: found an empty array, expected an array that is not empty",
    ),
    "equal choices": (
        _choices("[1, true]"),
        "space.lr.choices: found true twice, expected choices that differ (1, 1.0 and true are equal)",
    ),
    "nested choice": (
        _choices("[[1]]"),
        "space.lr.choices[0]: found an array, expected a string, a finite number, true or false",
    ),
    "NaN choice": (
        _choices("[nan]"),
        "space.lr.choices[0]: found nan, expected a string, a finite number, true or false",
    ),
    # the sampler
    "sampler": (
        _sampler('name = "tpee"'),
        f'sampler.name: found "tpee", expected {_KNOWN_SAMPLERS} (did you mean tpe?)',
    ),
    "sampler type": (_sampler("name = 1"), "sampler.name: found 1, expected a string"),
    "keyword": (
        _sampler('name = "tpe"\nn_startup_trails = 3'),
        (
            f"sampler.n_startup_trails: found an unknown keyword of the sampler tpe, expected {_TPE_KEYS} "
            "(did you mean n_startup_trials?)"
        ),
    ),
    "python keyword": (
        _sampler("gamma = 3"),
        f"sampler.gamma: found a keyword that takes a Python object, expected {_TPE_KEYS}",
    ),
    "deprecated keyword": (
        _sampler("prior_weight = 1.0"),
        f"sampler.prior_weight: found a keyword that Optuna is about to remove, expected {_TPE_KEYS}",
    ),
    "keyword type": (
        _sampler('n_startup_trials = "3"'),
        'sampler.n_startup_trials: found "3", expected an integer of at least 0',
    ),
    "keyword range": (
        _sampler('name = "nsgaii"\ncrossover_prob = 2'),
        "sampler.crossover_prob: found 2, expected a number from 0.0 to 1.0",
    ),
    "conflict": (
        _sampler("group = true\nmultivariate = false"),
        "sampler.group: found true, expected another value together with multivariate = false",
    ),
    "seed": (_sampler("seed = -1"), "sampler.seed: found -1, expected at least 0"),
    "keyword of grid": (
        _sampler('name = "grid"\nshuffle = true', _STEPPED),
        "sampler.shuffle: found an unknown keyword of the sampler grid, expected name or seed",
    ),
    "grid": (
        _sampler('name = "grid"'),
        "space.lr: found a continuous parameter, expected a step, because the sampler is grid",
    ),
    "endless grid": (
        _sampler(
            'name = "bruteforce"',
            "".join(f'[space.{n}]\ntype = "int"\nlow = 0\nhigh = {2**40}\n' for n in ("lr", "n")),
        ),
        (
            "space: found over 2**62 points, "
            "expected a space that can be walked, because the sampler is bruteforce"
        ),
    ),
    "several objectives": (
        _sampler('name = "cmaes"', top=_TWO),
        (
            'sampler.name: found "cmaes" with several directions, '
            "expected tpe, random, grid, bruteforce, nsgaii, nsgaiii, qmc or gp"
        ),
    ),
    # the rest
    "trials": (_with(budget="[budget]\ntrials = 0"), "budget.trials: found 0, expected at least 1"),
    "evaluations": (
        _with(budget="[budget]\nevaluations = 1.5"),
        "budget.evaluations: found 1.5, expected an integer",
    ),
    "time": (_with(budget='[budget]\ntime = "-1h"'), f'budget.time: found "-1h", expected {_SPAN}'),
    "budget": (_with(top="budget = 3"), "budget: found 3, expected a table"),
    "on_complete": (
        _with(dedup='[dedup]\non_complete = "skip"'),
        'dedup.on_complete: found "skip", expected "reuse", "resample" or "evaluate"',
    ),
    "on_running": (
        _with(dedup='[dedup]\non_running = "reuse"'),
        'dedup.on_running: found "reuse", expected "skip", "wait", "resample" or "evaluate"',
    ),
    "patience": (_with(dedup="[dedup]\npatience = 0"), "dedup.patience: found 0, expected at least 1"),
    "attempts": (_with(retry="[retry]\nattempts = -1"), "retry.attempts: found -1, expected at least 0"),
    # the points
    "points": (_with(top="points = 3"), "points: found 3, expected an array of tables, written [[points]]"),
    "point outside": (
        _with(points="[[points]]\nlr = 1"),
        "points[0].lr: found 1, expected a number from 1e-05 to 0.1",
    ),
    "point off step": (
        _with(space=_STEPPED, points="[[points]]\nlr = 0.3"),
        "points[0].lr: found 0.3, expected a number from 0.0 to 1.0 in steps of 0.25",
    ),
    "point type": (
        _int("low = 0\nhigh = 3\n[[points]]\nlr = 2.0"),
        "points[0].lr: found 2.0, expected an integer from 0 to 3",
    ),
    "boolean point": (
        _int("low = 0\nhigh = 3\n[[points]]\nlr = true"),
        "points[0].lr: found true, expected an integer from 0 to 3",
    ),
    "no choice": (
        _choices('["a", 1]\n[[points]]\nlr = "b"'),
        'points[0].lr: found "b", expected "a" or 1',
    ),
    "point lacks": (
        _with(points="[[points]]"),
        "points[0].lr: found nothing, expected a number from 1e-05 to 0.1",
    ),
    "point has more": (
        _with(points="[[points]]\nlr = 1e-3\nrl = 3"),
        "points[0].rl: found an unknown parameter, expected lr",
    ),
    "same point": (
        _with(points="[[points]]\nlr = 1e-3\n[[points]]\nlr = 0.001"),
        "points[1]: found the same point as points[0], expected points that differ",
    ),
    # what TOML lets through
    "NUL": (
        _command(r'["a\u0000"]'),
        "objective.command[0]: found a NUL character, expected text without NUL characters",
    ),
    "huge integer": (
        _with(top=f"parallel = {10**30}"),
        "parallel: found an integer of over 64 bits, expected an integer of at most 64 bits",
    ),
}


@pytest.mark.parametrize(("source", "line"), _REFUSED.values(), ids=_REFUSED)
def test_a_mistake_is_told_in_one_line(source: str, line: str) -> None:
    assert _problems(source) == [f"x.toml: {line}"]


def test_a_parameter_that_is_no_table_is_refused() -> None:
    assert _problems("space.lr = 3\n" + _HEAD) == ["x.toml: space.lr: found 3, expected a table with a type"]


def test_all_mistakes_are_told_at_once() -> None:
    source = _FULL.replace("high = 64", "high = 1").replace('"2h"', '"2x"').replace("trials", "trails")
    source = source.replace("{optimizer}", "{optimiser}").replace("choices", "choice")
    keys = {line.split(": ")[1] for line in _problems(source)}
    assert keys == {
        "objective.timeout",
        "objective.command[3]",
        "space.size.low",
        "space.optimizer.choices",
        "space.optimizer.choice",
        "budget.trails",
    }


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"name = 'x'\nb = ", "x.toml: found a mistake in the TOML: Invalid value (at end of document)"),
        (b"name = 'x'\n  oops\n", "at line 2, column 7"),
        (b"a = 1\na = 2\n", "at line 2, column 6"),
        (b"\n\nname = '\xff'", "found a byte that is not UTF-8 in line 3, expected a TOML file in UTF-8"),
        (b"\xef\xbb\xbfname = 'x'", "found a byte order mark"),
        (b"a = " + b"[" * 100_000, "very deep nesting"),
        (b"a = " + b"9" * 5000, "a number of over 4300 digits"),
        (b"a." * 400_000 + b"a = 1", "a key of over 200 parts"),
        (b"a" * 1_000_000 + b" = 1", "an unknown key"),
        (b"a = '" + b"a" * 1_000_000 + b"'", "an unknown key"),
    ],
    ids=range(10),
)
@pytest.mark.timeout(10)
def test_what_is_no_toml_is_told_with_its_place(content: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=r"^x\.toml: ") as caught:
        parse(content, "x.toml")
    assert told in str(caught.value)


def test_only_the_first_hundred_mistakes_are_listed() -> None:
    lines = _problems("\n".join(f"k{number} = 1" for number in range(500)) + _MINIMAL)
    assert len(lines) == 101
    assert lines[-1] == "x.toml: found 400 more problems, expected none"


def test_a_message_cannot_steer_a_terminal() -> None:
    lines = _problems(_with(top=r'"\u001b[2J" = 1' + "\n" + r'name = "\u009b31m"'))
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("stem", ["-", "a b", ".hidden"])
def test_a_file_without_a_name_of_its_own_needs_one_that_does(stem: str) -> None:
    (line,) = _problems(_MINIMAL, f"{stem}.toml")
    assert f'name: found none, and the file\'s name "{stem}" does not do, expected {_NAME}' in line


@pytest.mark.parametrize("name", [name for name, entry in samplers.SAMPLERS.items() if not entry.is_walk])
def test_every_sampler_takes_categorical_parameters(name: str) -> None:
    space = _LR + '[space.c]\ntype = "categorical"\nchoices = ["a"]'
    assert _parse(_sampler(f'name = "{name}"', space)).sampler.name == name


# --- the definition --------------------------------------------------------------------------------

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
    mine = _parse(_toml(document))
    assert mine.adopt(mine.definition()) == mine
    assert mine.adopt(mine.definition()).definition() == mine.definition()


def test_points_and_pattern_are_in_the_definition() -> None:
    mine = _parse(_FULL)
    assert mine.adopt(mine.definition()) == mine


def test_the_definition_wins_over_the_file_but_local_keys_stay() -> None:
    mine = _parse(_FULL)
    theirs = _parse(
        _FULL.replace("trials = 100", "trials = 7").replace("/srv", "/elsewhere").replace("= 4", "= 9")
    )
    adopted = mine.adopt(theirs.definition())
    assert adopted.budget.trials == 7
    assert (adopted.parallel, adopted.objective.workdir) == (4, "/srv/minima")
    assert adopted.objective.env == mine.objective.env
    assert adopted.resources == mine.resources


def test_local_keys_are_no_difference() -> None:
    theirs = _parse(
        _FULL.replace("/srv", "/elsewhere")
        .replace("parallel = 4", "")
        .replace('"4"', '"8"')
        .replace("512", "8")
    )
    assert _parse(_FULL).definition() == theirs.definition()


def test_whether_trials_are_forked_is_for_each_host_to_say() -> None:
    mine, theirs = (_parse(_python(f'python = "a:b"\nfork = {word}')) for word in ("false", "true"))
    assert mine.definition() == theirs.definition() == _parse(_python('python = "a:b"')).definition()
    assert not mine.adopt(theirs.definition()).objective.fork
    assert theirs.adopt(mine.definition()).objective.fork


def test_a_default_and_the_same_value_written_out_are_no_difference() -> None:
    written = _MINIMAL + '[dedup]\npatience = 3\n[sampler]\nname = "tpe"\n'
    assert _parse(_MINIMAL).definition() == _parse("direction = 'minimize'\n" + written).definition()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("trials = 100", "trials = 200", "budget.trials: 100 here, 200 in the database"),
        ("evaluations = 60", "", "budget.evaluations: 60 here, not set in the database"),
        ("seed = 42", "seed = 43", "sampler.seed: 42 here, 43 in the database"),
        (
            "3, true]",
            "3, 1]",
            'space.optimizer.choices: ["adam", "sgd", 3, true] here, ["adam", "sgd", 3, 1] in the database',
        ),
        ('"maximize"]', '"minimize"]', 'directions: ["maximize"] here, ["minimize"] in the database'),
    ],
)
def test_a_difference_is_told_by_its_key(old: str, new: str, line: str) -> None:
    theirs = _parse(_FULL.replace(old, new)).definition()
    assert differences(_parse(_FULL).definition(), theirs) == [line]


def test_a_parameter_that_only_one_side_has_is_a_difference() -> None:
    more = _parse(_MINIMAL + '[space.n]\ntype = "int"\nlow = 1\nhigh = 2\n').definition()
    (line,) = differences(_parse(_MINIMAL).definition(), more)
    assert line.startswith('space.n: not set here, {"type": "int"')


@pytest.mark.parametrize("definition", ["", "{", "3", "[]", "{}", '{"name": "x", "new": 1}'])
def test_a_definition_that_cannot_be_read_is_refused(definition: str) -> None:
    with pytest.raises(InvalidInput, match=r"^definition of minima in the database: "):
        _parse(_FULL).adopt(definition)


# --- malformed files -------------------------------------------------------------------------------

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
    **json.loads(_parse(_FULL).definition()),
    "parallel": 4,
    "resources": {"memory": "4G", "cpus": 0.5, "gpus": 2},
}


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(_damaged())
def test_a_damaged_document_parses_or_is_refused_in_words(document: dict[str, Any]) -> None:
    source = _toml(document) if document else ""
    _parses_or_tells(source.replace("NaN", "nan").replace("Infinity", "inf").encode("utf-8", "surrogatepass"))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(_FULL)), st.integers(0, 40), st.binary(max_size=6))
def test_a_file_with_damaged_bytes_parses_or_is_refused_in_words(
    start: int, length: int, junk: bytes
) -> None:
    source = _FULL.encode()
    _parses_or_tells(source[:start] + junk + source[start + length :])


# --- what people and editors see -------------------------------------------------------------------


def test_the_summary_says_what_will_run() -> None:
    assert summary(_parse(_FULL), slots=2) == [
        "study: minima, maximize",
        "runs: python3 train.py --size={size} {{{optimizer}}}",
        "space: continuous (size, lr, optimizer)",
        "sampler: tpe, seed 42",
        "budget: 100 trials, 60 evaluations, 8h",
        "at once: 2 on this host",
        "each trial: memory 1536M, cpus 2, pids 512, gpus 0.1",
        "first: 1 given point",
    ]


def test_the_summary_counts_a_finite_space() -> None:
    lines = summary(_parse(_sampler('name = "grid"', _STEPPED)))
    assert "space: 5 points (lr)" in lines
    assert "budget: none, it ends when the space is exhausted" in lines


def test_the_schema_describes_every_key() -> None:
    schema = json_schema()
    tables = [schema, *(table for name, table in schema["$defs"].items() if name != "SamplerTable")]
    undescribed = [
        key
        for table in tables
        for key, value in table["properties"].items()
        if "description" not in value and "$ref" not in str(value)
    ]
    assert undescribed == []


def test_the_schema_knows_the_keywords_of_every_sampler() -> None:
    variants = {v["properties"]["name"]["const"]: v for v in json_schema()["$defs"]["SamplerTable"]["oneOf"]}
    assert variants.keys() == samplers.SAMPLERS.keys()
    for name, entry in samplers.SAMPLERS.items():
        assert variants[name]["properties"].keys() == {"name", "seed", *entry.options}


def test_the_reference_names_every_key_and_keyword() -> None:
    text = (Path(__file__).parents[3] / "docs" / "reference" / "experiment-file.md").read_text()
    schema = json_schema()
    tables = [schema, *schema["$defs"].values()]
    keys = {key for table in tables for key in table.get("properties", {}) if key not in _HEADINGS}
    keys |= {option for entry in samplers.SAMPLERS.values() for option in entry.options}
    assert [key for key in sorted(keys) if f"`{key}`" not in text and key != "pattern"] == []
    assert [heading for heading in _HEADINGS if f"[{heading}" not in text and heading != "metric"] == []
