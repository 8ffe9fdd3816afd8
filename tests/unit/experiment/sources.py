"""Experiment files as text, whole and in parts, and how they are read."""

from __future__ import annotations

import pytest

from tuned.errors import InvalidInput
from tuned.experiment.experiment import Experiment, parse

HEAD = """
[objective]
command = ["./train.sh", "--lr={lr}"]
"""

LR = """
[space.lr]
type = "float"
low = 1e-5
high = 1e-1
log = true
"""

STEPPED = """
[space.lr]
type = "float"
low = 0
high = 1
step = 0.25
"""

MINIMAL = HEAD + LR

FULL = """
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


def read(source: str, file: str = "minima.toml") -> Experiment:
    return parse(source.encode(), file)


def told(source: str, file: str = "x.toml") -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read(source, file)
    return str(caught.value).splitlines()


def with_parts(**tables: str) -> str:
    """The minimal file with some of its parts replaced or added; ``top`` stands before all tables."""
    top, head, space = tables.pop("top", ""), tables.pop("head", HEAD), tables.pop("space", LR)
    return f"{top}\n{head}\n{space}\n" + "\n".join(tables.values())


def int_space(keys: str) -> str:
    return with_parts(space=f'[space.lr]\ntype = "int"\n{keys}')


def choices(choices: str) -> str:
    return with_parts(space=f'[space.lr]\ntype = "categorical"\nchoices = {choices}')


def command(command: str, more: str = "") -> str:
    return with_parts(head=f"[objective]\ncommand = {command}\n{more}")


def python(keys: str) -> str:
    return with_parts(head=f"[objective]\n{keys}")


def sampler(keys: str, space: str = LR, top: str = "") -> str:
    return with_parts(top=top, space=space, sampler=f"[sampler]\n{keys}")


NAME = "1 to 100 letters, digits, '.', '_' or '-', the first one a letter or digit"
