"""The tables of the experiment file: their meaning, their defaults, and the words for a wrong key."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.unit.experiment.sources import (
    FULL,
    HEAD,
    LR,
    MINIMAL,
    NAME,
    STEPPED,
    command,
    python,
    read,
    sampler,
    told,
    with_parts,
)
from tuned.experiment.resources import Resources


def test_a_file_means_what_it_says() -> None:
    experiment = read(FULL)
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
    assert experiment.resources == Resources(memory=3 * 2**29, cpus=2, pids=512, gpus=0.1)
    assert experiment.resources.cards == Fraction(1, 10)
    assert experiment.points[0].values == {"size": 16, "lr": 1e-3, "optimizer": "adam"}


def test_what_is_left_out_has_the_documented_default() -> None:
    experiment = read(MINIMAL, "/var/spool/tuned/my-study.toml")
    assert (experiment.name, experiment.directions, experiment.parallel) == ("my-study", ("minimize",), None)
    assert (experiment.sampler.name, experiment.sampler.seed) == ("tpe", None)
    assert experiment.budget.trials is experiment.budget.evaluations is experiment.budget.time is None
    assert (experiment.dedup.on_complete, experiment.dedup.on_running) == ("reuse", "skip")
    assert (experiment.dedup.patience, experiment.retry.attempts, experiment.points) == (3, 0, ())
    assert experiment.resources == Resources()


def test_an_integer_does_for_a_float() -> None:
    assert read(HEAD + STEPPED).space.size == 5


_TOP_KEYS = (
    "name, direction, directions, parallel, objective, space, sampler, pruner, budget, dedup, retry, "
    "replicates, resources, code, fleet, notify, points or forbid"
)

_SPAN = 'a time span such as "90s", "1h 30min" or a number of seconds'

_ARGV = 'a program and its arguments, such as ["./train.sh"]'

_KNOWN_SAMPLERS = "tpe, random, grid, bruteforce, cmaes, nsgaii, nsgaiii, qmc or gp"

_TPE_KEYS = "name, seed, n_startup_trials, n_ei_candidates, multivariate, group or constant_liar"

_REFUSED = {
    # the top
    "unknown key": (
        with_parts(top="nam = 1"),
        f"nam: found an unknown key, expected {_TOP_KEYS} (did you mean name?)",
    ),
    "strange key": (with_parts(top='"a b" = 1'), f'"a b": found an unknown key, expected {_TOP_KEYS}'),
    "name": (with_parts(top='name = "a b"'), f'name: found "a b", expected {NAME}'),
    "name type": (with_parts(top="name = 3"), "name: found 3, expected a string"),
    "direction": (
        with_parts(top='direction = "up"'),
        'direction: found "up", expected "minimize" or "maximize"',
    ),
    "no directions": (
        with_parts(top="directions = []"),
        "directions: found an empty array, expected an array that is not empty",
    ),
    "parallel": (with_parts(top="parallel = 0"), "parallel: found 0, expected at least 1"),
    "parallel bool": (with_parts(top="parallel = true"), "parallel: found true, expected an integer"),
    # the objective
    "no objective": (LR, "objective: found nothing, expected a table [objective] with a command"),
    "empty command": (
        command("[]"),
        f"objective.command: found an empty array, expected {_ARGV}",
    ),
    "empty program": (
        command('["", "x"]'),
        f"objective.command: found an array, expected {_ARGV}",
    ),
    "shell command": (command('"./train.sh"'), 'objective.command: found "./train.sh", expected an array'),
    "argument": (command('["a", 1]'), "objective.command[1]: found 1, expected a string"),
    "python": (
        python('python = "train.py"'),
        'objective.python: found "train.py", expected "module:function", such as "train:objective"',
    ),
    "workdir": (
        command('["a"]', 'workdir = "srv"'),
        (
            'objective.workdir: found "srv", expected an absolute path, such as "/srv/minima", or one that '
            "begins with {code}"
        ),
    ),
    "timeout": (command('["a"]', 'timeout = "soon"'), f'objective.timeout: found "soon", expected {_SPAN}'),
    "no time": (
        command('["a"]', "timeout = 0"),
        "objective.timeout: found 0, expected a time span of more than 0",
    ),
    "env": (command('["a"]', "env = { A = 1 }"), "objective.env.A: found 1, expected a string"),
    "env name": (
        command('["a"]', 'env = { "A-B" = "1" }'),
        (
            'objective.env.A-B: found "A-B", '
            "expected a name of letters, digits and '_', not beginning with a digit"
        ),
    ),
    "env ours": (
        command('["a"]', 'env = { TUNED_SLOT = "1" }'),
        'objective.env.TUNED_SLOT: found "TUNED_SLOT", expected a name that does not begin with TUNED_',
    ),
    # the metric
    "metric without pattern": (
        command('["a"]', "metric = {}"),
        "objective.metric.pattern: found nothing, expected a regular expression",
    ),
    # the space
    "no space": (HEAD, "space: found nothing, expected a table [space.NAME] for each parameter"),
    "space": ("space = 3\n" + HEAD, "space: found 3, expected a table"),
    # the sampler
    "sampler": (
        sampler('name = "tpee"'),
        f'sampler.name: found "tpee", expected {_KNOWN_SAMPLERS} (did you mean tpe?)',
    ),
    "sampler type": (sampler("name = 1"), "sampler.name: found 1, expected a string"),
    "keyword": (
        sampler('name = "tpe"\nn_startup_trails = 3'),
        (
            f"sampler.n_startup_trails: found an unknown keyword of the sampler tpe, expected {_TPE_KEYS} "
            "(did you mean n_startup_trials?)"
        ),
    ),
    "python keyword": (
        sampler("gamma = 3"),
        f"sampler.gamma: found a keyword that takes a Python object, expected {_TPE_KEYS}",
    ),
    "deprecated keyword": (
        sampler("prior_weight = 1.0"),
        f"sampler.prior_weight: found a keyword that Optuna is about to remove, expected {_TPE_KEYS}",
    ),
    "keyword type": (
        sampler('n_startup_trials = "3"'),
        'sampler.n_startup_trials: found "3", expected an integer of at least 0',
    ),
    "keyword range": (
        sampler('name = "nsgaii"\ncrossover_prob = 2'),
        "sampler.crossover_prob: found 2, expected a number from 0.0 to 1.0",
    ),
    "seed": (sampler("seed = -1"), "sampler.seed: found -1, expected at least 0"),
    "keyword of grid": (
        sampler('name = "grid"\nshuffle = true', STEPPED),
        "sampler.shuffle: found an unknown keyword of the sampler grid, expected name or seed",
    ),
    # the rest
    "more attempts than a column holds": (
        with_parts(retry="[retry]\nattempts = 2147483647"),
        "retry.attempts: found 2147483647, expected at most 2147483646",
    ),
    "budget": (with_parts(top="budget = 3"), "budget: found 3, expected a table"),
    "on_complete": (
        with_parts(dedup='[dedup]\non_complete = "skip"'),
        'dedup.on_complete: found "skip", expected "reuse", "resample" or "evaluate"',
    ),
    "on_running": (
        with_parts(dedup='[dedup]\non_running = "reuse"'),
        'dedup.on_running: found "reuse", expected "skip", "wait", "resample" or "evaluate"',
    ),
    "patience": (with_parts(dedup="[dedup]\npatience = 0"), "dedup.patience: found 0, expected at least 1"),
    "attempts": (with_parts(retry="[retry]\nattempts = -1"), "retry.attempts: found -1, expected at least 0"),
    # the points
    "points": (
        with_parts(top="points = 3"),
        "points: found 3, expected an array of tables, written [[points]]",
    ),
    # what TOML lets through
    "NUL": (
        command(r'["a\u0000"]'),
        "objective.command[0]: found a NUL character, expected text without NUL characters",
    ),
    "huge integer": (
        with_parts(top=f"parallel = {10**30}"),
        "parallel: found an integer of over 64 bits, expected an integer of at most 64 bits",
    ),
}


@pytest.mark.parametrize(("source", "line"), _REFUSED.values(), ids=_REFUSED)
def test_a_mistake_is_told_in_one_line(source: str, line: str) -> None:
    assert told(source) == [f"x.toml: {line}"]


def test_a_parameter_that_is_no_table_is_refused() -> None:
    assert told("space.lr = 3\n" + HEAD) == ["x.toml: space.lr: found 3, expected a table with a type"]


def test_all_mistakes_are_told_at_once() -> None:
    source = FULL.replace("high = 64", "high = 1").replace('"2h"', '"2x"').replace("trials", "trails")
    source = source.replace("{optimizer}", "{optimiser}").replace("choices", "choice")
    keys = {line.split(": ")[1] for line in told(source)}
    assert keys == {
        "objective.timeout",
        "objective.command[3]",
        "space.size.low",
        "space.optimizer.choices",
        "space.optimizer.choice",
        "budget.trails",
    }
