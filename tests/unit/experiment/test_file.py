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
    choices,
    command,
    int_space,
    python,
    read,
    sampler,
    told,
    with_parts,
)
from tuned.experiment.file import Resources


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


def _float(keys: str) -> str:
    return with_parts(space=f'[space.lr]\ntype = "float"\n{keys}')


def _resources(keys: str) -> str:
    return with_parts(resources=f"[resources]\n{keys}")


_TOP_KEYS = (
    "name, direction, directions, parallel, objective, space, sampler, budget, dedup, retry, resources "
    "or points"
)

_SIZE = 'bytes, or a number with K, M, G or T such as "4G", from 1M'

_GPUS = "a whole number of GPUs, or a part of one such as 0.5"

_SPAN = 'a time span such as "90s", "1h 30min" or a number of seconds'

_EXACT = "an integer from -2**53 to 2**53 (the database holds floats)"

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
        'objective.workdir: found "srv", expected an absolute path, such as "/srv/minima"',
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
    "parameter name": (
        with_parts(space=LR + LR.replace("lr", "l-r")),
        (
            'space.l-r: found the name "l-r", '
            "expected a name of up to 64 letters, digits and '_', not beginning with a digit"
        ),
    ),
    "long parameter name": (
        with_parts(space=LR + LR.replace("lr", "r" * 65)),
        (
            f'space.{"r" * 59}…: found the name "{"r" * 59}…", '
            "expected a name of up to 64 letters, digits and '_', not beginning with a digit"
        ),
    ),
    "no type": (
        with_parts(space="[space.lr]\nlow = 1"),
        'space.lr.type: found nothing, expected "int", "float" or "categorical"',
    ),
    "a parameter inside of another": (
        with_parts(space=f"[space.a]\nlow = 1\n[space.a.lr]\nlow = 1\n{LR}"),
        "space.a.lr: found a table, expected type in space.a, or [space.lr] beside it",
    ),
    "type": (
        with_parts(space='[space.lr]\ntype = "real"'),
        'space.lr.type: found "real", expected "int", "float" or "categorical"',
    ),
    "misspelled bound": (
        int_space("low = 1\nhigh = 2\nstp = 3"),
        "space.lr.stp: found an unknown key, expected type, low, high, step or log (did you mean step?)",
    ),
    "no bound": (int_space("low = 1"), "space.lr.high: found nothing, expected an integer"),
    "string bound": (_float('low = "1"\nhigh = 2'), 'space.lr.low: found "1", expected a number'),
    "boolean bound": (_float("low = true\nhigh = 2"), "space.lr.low: found true, expected a number"),
    "float bound": (int_space("low = 1.0\nhigh = 2"), "space.lr.low: found 1.0, expected an integer"),
    "date bound": (
        int_space("low = 1979-05-27\nhigh = 2"),
        "space.lr.low: found a date or time, expected an integer",
    ),
    "NaN": (_float("low = nan\nhigh = 2"), "space.lr.low: found nan, expected a finite number"),
    "infinity": (_float("low = 1\nhigh = inf"), "space.lr.high: found inf, expected a finite number"),
    "empty range": (_float("low = 2\nhigh = 1"), "space.lr.low: found 2.0, expected at most high (1.0)"),
    "empty int range": (int_space("low = 2\nhigh = 1"), "space.lr.low: found 2, expected at most high (1)"),
    "range too wide": (
        _float("low = -1e308\nhigh = 1e308"),
        "space.lr.high: found 1e+308, expected a range that a float can hold",
    ),
    "large int": (
        int_space(f"low = 0\nhigh = {2**53 + 1}"),
        f"space.lr.high: found {2**53 + 1}, expected {_EXACT}",
    ),
    "log": (
        _float("low = 0\nhigh = 1\nlog = true"),
        "space.lr.low: found 0.0, expected more than 0, because log = true",
    ),
    "int log": (
        int_space("low = 0\nhigh = 1\nlog = true"),
        "space.lr.low: found 0, expected more than 0, because log = true",
    ),
    "log and step": (
        _float("low = 1\nhigh = 2\nstep = 0.5\nlog = true"),
        "space.lr.step: found 0.5, expected no step, because log = true",
    ),
    "int log and step": (
        int_space("low = 1\nhigh = 9\nstep = 2\nlog = true"),
        "space.lr.step: found 2, expected no step, because log = true",
    ),
    "no step": (_float("low = 1\nhigh = 2\nstep = 0"), "space.lr.step: found 0, expected more than 0"),
    "no int step": (int_space("low = 1\nhigh = 2\nstep = 0"), "space.lr.step: found 0, expected at least 1"),
    "step too fine": (
        _float("low = 1e6\nhigh = 1000001\nstep = 1e-6"),
        "space.lr.step: found 1e-06, expected at least 0.001, for floats of this size",
    ),
    "no choices": (
        choices("[]"),
        "space.lr.choices: found an empty array, expected an array that is not empty",
    ),
    "equal choices": (
        choices("[1, true]"),
        "space.lr.choices: found true twice, expected choices that differ (1, 1.0 and true are equal)",
    ),
    "nested choice": (
        choices("[[1]]"),
        "space.lr.choices[0]: found an array, expected a string, a finite number, true or false",
    ),
    "NaN choice": (
        choices("[nan]"),
        "space.lr.choices[0]: found nan, expected a string, a finite number, true or false",
    ),
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
    "trials": (with_parts(budget="[budget]\ntrials = 0"), "budget.trials: found 0, expected at least 1"),
    "evaluations": (
        with_parts(budget="[budget]\nevaluations = 1.5"),
        "budget.evaluations: found 1.5, expected an integer",
    ),
    "more trials than a column holds": (
        with_parts(budget="[budget]\ntrials = 9_999_999_999"),
        "budget.trials: found 9999999999, expected at most 2147483647",
    ),
    "more evaluations than a column holds": (
        with_parts(budget="[budget]\nevaluations = 2147483648"),
        "budget.evaluations: found 2147483648, expected at most 2147483647",
    ),
    "more attempts than a column holds": (
        with_parts(retry="[retry]\nattempts = 2147483647"),
        "retry.attempts: found 2147483647, expected at most 2147483646",
    ),
    "time": (with_parts(budget='[budget]\ntime = "-1h"'), f'budget.time: found "-1h", expected {_SPAN}'),
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
