"""Tables of the experiment file that contradict each other."""

from __future__ import annotations

import pytest

from tests.factories import CONDITIONAL
from tests.unit.experiment.sources import (
    LR,
    STEPPED,
    choices,
    command,
    int_space,
    python,
    read,
    sampler,
    told,
    with_parts,
)

_TWO = 'directions = ["minimize", "maximize"]'

_BOTH_CASES = LR + LR.replace("lr", "LR")


def _conditional(command: str, points: str = "") -> str:
    return with_parts(head=f"[objective]\ncommand = {command}", space=CONDITIONAL, points=points)


def _point(values: str) -> str:
    return _conditional('["a"]', f"[[points]]\n{values}")


_REFUSED_TOGETHER = {
    "an option that would be left": (
        _conditional('["a", "--momentum", "{momentum}"]'),
        (
            'objective.command[2]: found "{momentum}" after "--momentum", which is left in a trial '
            'without momentum, expected "--momentum={momentum}"'
        ),
    ),
    "a short option that would be left": (
        _conditional('["a", "{size}", "-m", "{momentum}-{size}"]'),
        (
            'objective.command[3]: found "{momentum}-{size}" after "-m", which is left in a trial '
            'without momentum or size, expected "-m{momentum}-{size}"'
        ),
    ),
    "a program that would be left out": (
        _conditional('["./train-{size}"]'),
        (
            "objective.command[0]: found a program whose name needs size, "
            "expected one that is there in every trial"
        ),
    ),
    "a point with a parameter too many": (
        _point('optimizer = "sgd"\nmomentum = 0.1\nsize = 1'),
        'points[0].size: found 1, expected nothing, because it exists only with optimizer = "adam"',
    ),
    "a point without a parameter": (
        _point('optimizer = "adam"\nsize = 2'),
        'points[0].decay: found nothing, expected "slow" or "fast"',
    ),
    "a point whose parents are wrong": (
        _point('optimizer = "adam"\nsize = 9\ndecay = "slow"'),
        "points[0].size: found 9, expected an integer from 1 to 5",
    ),
    "a forbidden point": (
        _point('optimizer = "adam"\nsize = 5\ndecay = "fast"'),
        (
            'points[0]: found the forbidden size = 5 and decay = "fast", '
            "expected a point that is not forbidden"
        ),
    ),
    "directions": (
        with_parts(top=f'direction = "minimize"\n{_TWO}'),
        "directions: found direction beside it, expected one of direction and directions",
    ),
    "two kinds of gpus": (
        with_parts(
            head='[objective]\ncommand = ["a"]\nenv = { CUDA_VISIBLE_DEVICES = "0" }',
            resources="[resources]\ngpus = 1",
        ),
        (
            "objective.env.CUDA_VISIBLE_DEVICES: found resources.gpus beside it, expected one of them: "
            "tuned sets it for trials that are given GPUs"
        ),
    ),
    "no command": (python(""), "objective: found neither command nor python, expected one of them"),
    "command and python": (
        command('["x"]', 'python = "a:b"'),
        "objective.python: found command beside it, expected one of command and python",
    ),
    "unknown parameter": (
        command('["a", "{rl}"]'),
        "objective.command[1]: found the unknown parameter {rl}, expected lr; {{ is a brace",
    ),
    "no parameter": (
        command('["a", "{}"]'),
        "objective.command[1]: found the unknown parameter {}, expected lr; {{ is a brace",
    ),
    "single brace": (
        command('["a", "{lr"]'),
        "objective.command[1]: found a single {, expected {name}, or {{ for the character itself",
    ),
    "closing brace": (
        command('["a", "}"]'),
        "objective.command[1]: found a single }, expected {name}, or }} for the character itself",
    ),
    "path": (
        command('["a"]', 'path = "/srv"'),
        'objective.path: found "/srv", expected it only with python (use workdir or env)',
    ),
    "interpreter": (
        command('["a"]', 'interpreter = "/b/python"'),
        'objective.interpreter: found "/b/python", expected it only with python (write it into command)',
    ),
    "fork": (
        command('["a"]', "fork = true"),
        "objective.fork: found true, expected it only with python",
    ),
    "pattern": (
        command('["a"]', "metric.pattern = '(?P<value>'"),
        'objective.metric.pattern: found "(?P<value>" (missing ): (?P<value>), expected a pattern of RE2',
    ),
    "backtracking": (
        command('["a"]', r"metric.pattern = '(?P<value>a)\1'"),
        (
            r'objective.metric.pattern: found "(?P<value>a)\\1" (invalid escape sequence: \1), '
            "expected a pattern of RE2"
        ),
    ),
    "no value": (
        command('["a"]', "metric.pattern = 'x=(.*)'"),
        'objective.metric.pattern: found no group value in "x=(.*)", expected a group (?P<value>...)',
    ),
    "other group": (
        command('["a"]', "metric.pattern = '(?P<value>x)(?P<epoch>y)'"),
        (
            'objective.metric.pattern: found the group "epoch", '
            "expected only the groups value and step to have names"
        ),
    ),
    "long pattern": (
        command('["a"]', f"metric.pattern = '{'x' * 1001}'"),
        "objective.metric.pattern: found 1001 characters, expected at most 1000",
    ),
    "pattern and python": (
        python('python = "a:b"\nmetric.pattern = "(?P<value>x)"'),
        "objective.metric: found a pattern for a Python function, expected it only with command",
    ),
    "pattern and directions": (
        with_parts(top=_TWO, head='[objective]\ncommand = ["a"]\nmetric.pattern = "(?P<value>x)"'),
        (
            "objective.metric: found a pattern and several directions, "
            'expected JSON lines with "values" in the output'
        ),
    ),
    "colliding names": (
        with_parts(space=_BOTH_CASES),
        "space.LR: found lr beside it, expected names that differ in more than upper and lower case",
    ),
    "conflict": (
        sampler("group = true\nmultivariate = false"),
        "sampler.group: found true, expected another value together with multivariate = false",
    ),
    "grid": (
        sampler('name = "grid"'),
        "space.lr: found a continuous parameter, expected a step, because the sampler is grid",
    ),
    "endless grid": (
        sampler(
            'name = "bruteforce"',
            "".join(f'[space.{n}]\ntype = "int"\nlow = 0\nhigh = {2**40}\n' for n in ("lr", "n")),
        ),
        (
            "space: found over 2**62 points, "
            "expected a space that can be walked, because the sampler is bruteforce"
        ),
    ),
    "several objectives": (
        sampler('name = "cmaes"', top=_TWO),
        (
            'sampler.name: found "cmaes" with several directions, '
            "expected tpe, random, grid, bruteforce, nsgaii, nsgaiii, qmc or gp"
        ),
    ),
    "point outside": (
        with_parts(points="[[points]]\nlr = 1"),
        "points[0].lr: found 1, expected a number from 1e-05 to 0.1",
    ),
    "point off step": (
        with_parts(space=STEPPED, points="[[points]]\nlr = 0.3"),
        "points[0].lr: found 0.3, expected a number from 0.0 to 1.0 in steps of 0.25",
    ),
    "point type": (
        int_space("low = 0\nhigh = 3\n[[points]]\nlr = 2.0"),
        "points[0].lr: found 2.0, expected an integer from 0 to 3",
    ),
    "boolean point": (
        int_space("low = 0\nhigh = 3\n[[points]]\nlr = true"),
        "points[0].lr: found true, expected an integer from 0 to 3",
    ),
    "no choice": (
        choices('["a", 1]\n[[points]]\nlr = "b"'),
        'points[0].lr: found "b", expected "a" or 1',
    ),
    "point lacks": (
        with_parts(points="[[points]]"),
        "points[0].lr: found nothing, expected a number from 1e-05 to 0.1",
    ),
    "point has more": (
        with_parts(points="[[points]]\nlr = 1e-3\nrl = 3"),
        "points[0].rl: found an unknown parameter, expected lr",
    ),
    "same point": (
        with_parts(points="[[points]]\nlr = 1e-3\n[[points]]\nlr = 0.001"),
        "points[1]: found the same point as points[0], expected points that differ",
    ),
}


@pytest.mark.parametrize(("source", "line"), _REFUSED_TOGETHER.values(), ids=_REFUSED_TOGETHER)
def test_tables_that_contradict_each_other_are_told_in_one_line(source: str, line: str) -> None:
    assert told(source) == [f"x.toml: {line}"]


def test_a_wrong_seed_is_told_beside_a_sampler_that_is_not_known() -> None:
    lines = told(sampler('name = "tpee"\nseed = -1'))
    assert [line.split(": ")[1] for line in lines] == ["sampler.name", "sampler.seed"]


def test_a_sampler_is_held_against_the_space_though_its_keywords_are_wrong() -> None:
    lines = told(sampler('name = "cmaes"\npopsize = 1', top='directions = ["minimize", "maximize"]'))
    assert [line.split(": ")[1] for line in lines] == ["sampler.popsize", "sampler.name"]


@pytest.mark.parametrize(
    "arguments",
    [
        '"--momentum={momentum}"',
        '"--", "{momentum}"',
        '"--optimizer", "{optimizer}"',
        '"--{momentum}", "{momentum}"',
        '"--fast=1", "{momentum}"',
    ],
)
def test_an_argument_that_may_be_left_out_stands_where_nothing_needs_it(arguments: str) -> None:
    assert read(_conditional(f'["a", {arguments}]')).space.size == 11
